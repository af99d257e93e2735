/* workers/alert/alert.h */
/*
 * alert: rules over the input's fields; one alert for each row and rule that holds and is not cooling down.
 *
 * Null     a condition that is null does not hold.
 * Cooldown of a rule is per value of its key field, in event time: [t, t + cooldown) after an alert at t is silent.
 * Once per of a rule: after an alert the same key is silent until the expression has another value (null is one).
 * State    key: rule name, a NUL, the key field, a NUL, where there is one the once_per expression and a NUL, the key's
 *          text; value: struct spoken.
 * Pure but for that state.
 */
#ifndef WORKERS_ALERT_H
#define WORKERS_ALERT_H

#include "stage/stage.h"

enum status alert_open(struct stage *s, void **ret_ctx, struct error *err);
enum status alert_transform(void *ctx, struct rows *in, struct out *outs, struct error *err);
enum status alert_check(void *ctx, struct view value, struct error *err);
void alert_close(void *ctx);

#endif
