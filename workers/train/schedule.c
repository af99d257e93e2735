#include "workers/train/schedule.h"

#define GAP_MAX 10000 /* boundaries looked back for a verdict */

struct span schedule_span(const struct stage_def *def, int64_t boundary_ms)
{
    struct span s = {.boundary_ms = boundary_ms, .as_of_ms = boundary_ms};

    s.holdout_to_ms = boundary_ms - def->label_after_ms;
    s.to_ms = s.holdout_to_ms - def->holdout_ms;
    s.from_ms = s.to_ms - def->window_ms;
    return s;
}

int64_t schedule_first(const struct model_store *store, const char *model, int64_t every_ms, int64_t first_at)
{
    int64_t below = (first_at / every_ms - (first_at % every_ms < 0)) * every_ms, b = below;

    /* At a restart the loop stands where it committed: boundaries before may still be undecided. */
    for (int i = 0; i < GAP_MAX; i++, b -= every_ms)
        if (model_store_verdict(store, model, b))
            break;
    if (model_store_verdict(store, model, b) == NULL)
        b = below;
    do
        b += every_ms;
    while (model_store_verdict(store, model, b));
    return b;
}
