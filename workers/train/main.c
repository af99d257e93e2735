/* workers/train/main.c: features and labels -> models, routings, verdicts. Wiring only. */
#include "model/booster.h"
#include "workers/train/train.h"

int main(int argc, char **argv)
{
    static const struct worker train = {
        .name = "train",
        .open = train_open,
        .transform = train_transform,
        .turn = train_turn,
        .progress = train_progress,
        .finish = train_finish,
        .close = train_close,
    };

    booster_threads_sleep(argv);
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--once") == 0)
            return once_main(argc, argv);
    return stage_main(&train, argc, argv);
}
