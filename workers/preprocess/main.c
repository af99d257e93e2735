/* workers/preprocess/main.c: events -> the same events with features. Wiring only. */
#include "workers/preprocess/preprocess.h"

int main(int argc, char **argv)
{
    static const struct worker preprocess = {
        .name = "preprocess",
        .open = preprocess_open,
        .transform = preprocess_transform,
        .check = preprocess_check,
        .close = preprocess_close,
    };

    return stage_main(&preprocess, argc, argv);
}
