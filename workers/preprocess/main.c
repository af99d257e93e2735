/* workers/preprocess/main.c: events -> the same events with features, or windows of them. Wiring only. */
#include "workers/preprocess/preprocess.h"

int main(int argc, char **argv)
{
    static const struct worker preprocess = {
        .name = "preprocess",
        .open = preprocess_open,
        .transform = preprocess_transform,
        .check = preprocess_check,
        .due = preprocess_due,
        .make_due = preprocess_make_due,
        .close = preprocess_close,
    };

    return stage_main(&preprocess, argc, argv);
}
