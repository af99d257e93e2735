/* common/feature/zone_rule.h: a TZif file's footer (zone_rule.c), for zone.c alone: "CET-1CEST,M3.5.0,M10.5.0/3". */
#ifndef FEATURE_ZONE_RULE_H
#define FEATURE_ZONE_RULE_H

#include "base/bytes.h"

struct zone_day {
    char form; /* 'M': week (5: the last) and weekday (Sunday is 0) of a month; 'J': 1 to 365, no leap day; '0': 0 to 365 */
    int month, week, day;
    int32_t s; /* local time of that day */
};

struct zone_rule {
    int32_t standard, summer; /* seconds ahead of UTC */
    bool has_summer;
    struct zone_day begins, ends;
};

/* False: no rule of that form (RFC 8536, 3.3). */
bool zone_rule_parse(struct view text, struct zone_rule *ret);
/* UTC seconds at which summer time begins and ends in a year. */
void zone_rule_year(const struct zone_rule *r, int64_t year, int64_t *ret_begins, int64_t *ret_ends);

#endif
