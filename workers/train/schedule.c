#include "workers/train/schedule.h"

struct span schedule_span(const struct stage_def *def, int64_t boundary_ms)
{
    struct span s = {.boundary_ms = boundary_ms, .as_of_ms = boundary_ms};

    s.holdout_to_ms = boundary_ms - def->label_after_ms;
    s.to_ms = s.holdout_to_ms - def->holdout_ms;
    s.from_ms = s.to_ms - def->window_ms;
    return s;
}

int64_t schedule_next(const struct model_store *store, const char *model, int64_t every_ms, int64_t first_at)
{
    int64_t b = (first_at / every_ms - (first_at % every_ms < 0)) * every_ms;

    do
        b += every_ms;
    while (model_store_verdict(store, model, b));
    return b;
}
