/* workers/ingest/main.c: what comes from outside -> topics. Wiring only. */
#include "stage/stage.h"
#include "workers/ingest/publish.h"

static enum status open_nothing(struct stage *s, void **ret_ctx, struct error *err)
{
    (void)s;
    (void)err;
    *ret_ctx = NULL;
    return OK;
}

static enum status transform_nothing(void *ctx, struct rows *in, struct out *outs, struct error *err)
{
    (void)ctx;
    (void)in;
    (void)outs;
    (void)err;
    return OK;
}

static void close_nothing(void *ctx)
{
    (void)ctx;
}

int main(int argc, char **argv)
{
    static const struct worker ingest = {
        .name = "ingest", .open = open_nothing, .transform = transform_nothing, .close = close_nothing};

    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--publish", 9) == 0)
            return publish_main(argc, argv);
    return stage_main(&ingest, argc, argv);
}
