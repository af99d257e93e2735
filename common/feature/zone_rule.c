#include "feature/zone_rule.h"

#include "base/calendar.h"

#define DAY_S 86400

static bool take_char(struct view *t, char c)
{
    if (t->n == 0 || t->data[0] != (uint8_t)c)
        return false;
    *t = view_of(t->data + 1, t->n - 1);
    return true;
}

static bool take_number(struct view *t, int min, int max, int *ret)
{
    size_t n = 0;

    for (*ret = 0; n < t->n && n < 4 && t->data[n] >= '0' && t->data[n] <= '9'; n++)
        *ret = *ret * 10 + (t->data[n] - '0');
    *t = view_of(t->data + n, t->n - n);
    return n > 0 && *ret >= min && *ret <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct view *t, int hours_max, int32_t *ret_s)
{
    int sign = take_char(t, '-') ? -1 : 1, h, m = 0, s = 0;

    if (sign > 0)
        (void)take_char(t, '+');
    if (!take_number(t, 0, hours_max, &h))
        return false;
    if (take_char(t, ':') && (!take_number(t, 0, 59, &m) || (take_char(t, ':') && !take_number(t, 0, 59, &s))))
        return false;
    *ret_s = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool take_name(struct view *t)
{
    bool quoted = take_char(t, '<');
    size_t n = 0;

    for (; n < t->n; n++) {
        uint8_t c = t->data[n];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!letter && !(quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-')))
            break;
    }
    *t = view_of(t->data + n, t->n - n);
    return n >= 3 && (!quoted || take_char(t, '>'));
}

static bool take_day(struct view *t, struct zone_day *ret)
{
    bool good;

    *ret = (struct zone_day){.form = '0', .s = 2 * 3600};
    if (take_char(t, 'M')) {
        ret->form = 'M';
        good = take_number(t, 1, 12, &ret->month) && take_char(t, '.') && take_number(t, 1, 5, &ret->week) && take_char(t, '.') &&
               take_number(t, 0, 6, &ret->day);
    } else if (take_char(t, 'J')) {
        ret->form = 'J';
        good = take_number(t, 1, 365, &ret->day);
    } else {
        good = take_number(t, 0, 365, &ret->day);
    }
    return good && (!take_char(t, '/') || take_time(t, 167, &ret->s));
}

bool zone_rule_parse(struct view t, struct zone_rule *ret)
{
    int32_t west;

    *ret = (struct zone_rule){0};
    if (!take_name(&t) || !take_time(&t, 24, &west))
        return false;
    ret->standard = -west;
    if (t.n == 0)
        return true;
    ret->has_summer = true;
    ret->summer = ret->standard + 3600;
    if (!take_name(&t))
        return false;
    if (t.n != 0 && t.data[0] != ',') {
        if (!take_time(&t, 24, &west))
            return false;
        ret->summer = -west;
    }
    return take_char(&t, ',') && take_day(&t, &ret->begins) && take_char(&t, ',') && take_day(&t, &ret->ends) && t.n == 0;
}

static int64_t day_of(const struct zone_day *d, int64_t year)
{
    int64_t first = calendar_days(year, 1, 1), days;

    if (d->form == 'J')
        return first + d->day - 1 + (calendar_is_leap(year) && d->day >= 60);
    if (d->form == '0')
        return first + d->day;
    first = calendar_days(year, d->month, 1);
    /* calendar_weekday has Monday as 0 */
    days = first + (d->day - (calendar_weekday(first) + 1) % 7 + 7) % 7 + (d->week - 1) * 7;
    return days < calendar_days(year + d->month / 12, d->month % 12 + 1, 1) ? days : days - 7;
}

void zone_rule_year(const struct zone_rule *r, int64_t year, int64_t *ret_begins, int64_t *ret_ends)
{
    *ret_begins = day_of(&r->begins, year) * DAY_S + r->begins.s - r->standard;
    *ret_ends = day_of(&r->ends, year) * DAY_S + r->ends.s - r->summer;
}
