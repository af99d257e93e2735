/* Which trained model becomes champion: the condition, what null means, and what the verdict says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "workers/train/gate.h"

static struct feature_col cols[] = {
    {.name = "auc", .type = COL_DOUBLE, .scale = -1},
    {.name = "logloss", .type = COL_DOUBLE, .scale = -1},
    {.name = "champion.auc", .type = COL_DOUBLE, .scale = -1},
    {.name = "champion.logloss", .type = COL_DOUBLE, .scale = -1},
};

static void a_model_is_judged_by_its_numbers(void **state)
{
    static const double none = (double)NAN;
    static const struct {
        const char *name, *when;
        double auc, champion;
        int32_t compared; /* with this version; -1: with none */
        int64_t holdout_rows;
        bool has_champion, promoted;
        const char *reason;
    } cases[] = {
        {"better", "auc >= champion.auc", 0.75, 0.5, 3, 9, true, true, "promote_when holds: auc 0.75, champion.auc 0.5 beside version 3"},
        {"equal", "auc >= champion.auc", 0.5, 0.5, 3, 9, true, true, "promote_when holds: auc 0.5, champion.auc 0.5 beside version 3"},
        {"worse", "auc >= champion.auc", 0.25, 0.5, 3, 9, true, false, "promote_when does not hold: auc 0.25, champion.auc 0.5 beside version 3"},
        {"the first", "auc >= champion.auc", 0.25, none, -1, 9, false, true,
         "promote_when is null: auc 0.25, champion.auc none; there is no champion"},
        {"the first, and not good enough", "auc >= 0.8", 0.25, none, -1, 9, false, false, "promote_when does not hold: auc 0.25"},
        {"a champion of other rows", "auc >= champion.auc", 0.25, none, -1, 9, true, true,
         "promote_when is null: auc 0.25, champion.auc none; the champion is of other rows"},
        {"nothing to judge by", "auc >= champion.auc", none, none, -1, 0, true, false, "promote_when is null: auc none, champion.auc none"},
        {"nothing to judge by, and no champion", "auc >= champion.auc", none, none, -1, 0, false, true,
         "promote_when is null: auc none, champion.auc none; there is no champion"},
        {"one class alone", "auc >= champion.auc", none, none, 3, 9, true, false,
         "promote_when is null: auc none, champion.auc none beside version 3"},
        {"either", "auc > champion.auc or auc >= 0.2", 0.25, 0.5, 3, 9, true, true,
         "promote_when holds: auc 0.25, champion.auc 0.5 beside version 3"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct model_metric metrics[] = {{"logloss", 0.1, 0.2}, {"auc", cases[i].auc, cases[i].champion}};
        const struct model_record r = {.metrics = metrics, .n_metrics = isnan(cases[i].auc) ? 0 : 2, .champion = cases[i].compared,
                                       .holdout_rows = cases[i].holdout_rows};
        const struct stage_def def = {.promote_when = cases[i].when, .promotion = cols, .n_promotion = ARRAY_LEN(cols)};
        struct arena arena = ARENA_EMPTY;
        const char *reason;
        struct error err;
        bool promoted;

        if (gate_judge(&def, &r, cases[i].has_champion, &arena, &promoted, &reason, &err) != OK)
            fail_msg("%s: %s", cases[i].name, err.text);
        if (promoted != cases[i].promoted || strcmp(reason, cases[i].reason) != 0)
            fail_msg("%s: %d, %s", cases[i].name, promoted, reason);
        arena_done(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_is_judged_by_its_numbers),
    };

    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
