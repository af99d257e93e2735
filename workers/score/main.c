/* workers/score/main.c: features + the champion model -> scores. Wiring only. */
#include "workers/score/worker.h"

int main(int argc, char **argv)
{
    static const struct worker score = {
        .name = "score",
        .stateless_order = true,
        .open = worker_open,
        .transform = worker_transform,
        .turn = worker_turn,
        .limit = worker_limit,
        .waits = worker_waits,
        .close = worker_close,
    };

    return stage_main(&score, argc, argv);
}
