/* test/unit/promcheck.h: what promtool would say of a metrics page (format 0.0.4), and a little more. */
/*
 * Refused: a line that is not of the grammar; HELP and TYPE not exactly once per family, in that order and before its
 * samples; a family in two pieces; a series twice; a counter below 0 or not named _total; a gauge named
 * _total; a name or unit that promtool's lint refuses; a histogram whose buckets fall, lack +Inf or differ from _count.
 */
#ifndef TEST_UNIT_PROMCHECK_H
#define TEST_UNIT_PROMCHECK_H

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROM_SERIES_MAX 1000
#define PROM_NAME_MAX 128

struct prom {
    char family[PROM_NAME_MAX], type[16];
    char done[PROM_SERIES_MAX][PROM_NAME_MAX]; /* families that were begun */
    char *series[PROM_SERIES_MAX];             /* name{labels} as printed */
    size_t n_done, n_series;
    double bucket_last, le_last, inf;
    bool has_type, has_inf, has_sum, has_count;
    char fault[300];
};

static bool prom_fault(struct prom *p, const char *what, const char *line)
{
    snprintf(p->fault, sizeof(p->fault), "%s: %.200s", what, line);
    return false;
}

static size_t prom_name(const char *s, bool colon)
{
    size_t n = 0;

    while (isalpha((unsigned char)s[n]) || s[n] == '_' || (colon && s[n] == ':') ||
           (n && isdigit((unsigned char)s[n])))
        n++;
    return n;
}

static bool prom_ends(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Closes the family: a histogram must be whole. */
static bool prom_close(struct prom *p)
{
    if (p->family[0] && !p->has_type)
        return prom_fault(p, "no TYPE", p->family);
    if (strcmp(p->type, "histogram") == 0 && !(p->has_inf && p->has_sum && p->has_count))
        return prom_fault(p, "histogram without +Inf, _sum or _count", p->family);
    return true;
}

static bool prom_help(struct prom *p, const char *rest, const char *line)
{
    size_t n = prom_name(rest, true);

    if (!prom_close(p))
        return false;
    if (n == 0 || n >= PROM_NAME_MAX || rest[n] != ' ' || rest[n + 1] == '\0')
        return prom_fault(p, "HELP without name or text", line);
    for (const char *c = rest + n; *c; c++)
        if (*c == '\\' && *++c != 'n' && *c != '\\')
            return prom_fault(p, "bad escape", line);
    memcpy(p->family, rest, n);
    p->family[n] = '\0';
    for (size_t i = 0; i < p->n_done; i++)
        if (strcmp(p->done[i], p->family) == 0)
            return prom_fault(p, "family twice", line);
    memcpy(p->done[p->n_done++], p->family, n + 1);
    p->type[0] = '\0';
    p->has_type = p->has_inf = p->has_sum = p->has_count = false;
    p->bucket_last = 0;
    p->le_last = -INFINITY;
    return true;
}

static bool prom_type(struct prom *p, const char *rest, const char *line)
{
    static const char *const units[] = {"milliseconds", "_ms", "microseconds", "kilobytes", "minutes", "hours"};
    size_t n = prom_name(rest, true);
    bool counter;

    if (n != strlen(p->family) || strncmp(rest, p->family, n) != 0 || p->has_type || rest[n] != ' ')
        return prom_fault(p, "TYPE not right after its HELP", line);
    snprintf(p->type, sizeof(p->type), "%s", rest + n + 1);
    p->has_type = true;
    counter = strcmp(p->type, "counter") == 0;
    if (!counter && strcmp(p->type, "gauge") != 0 && strcmp(p->type, "histogram") != 0)
        return prom_fault(p, "unknown type", line);
    if (counter != prom_ends(p->family, "_total"))
        return prom_fault(p, "_total is for counters, and for all", line);
    if (prom_ends(p->family, "_count") || prom_ends(p->family, "_sum") || prom_ends(p->family, "_bucket"))
        return prom_fault(p, "suffix of histograms", line);
    for (const char *c = p->family; *c; c++)
        if (isupper((unsigned char)*c))
            return prom_fault(p, "camel case", line);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (prom_ends(p->family, units[i]))
            return prom_fault(p, "not a base unit", line);
    return true;
}

/* *s at '{'; leaves it behind '}'. Copies the value of `le`. */
static bool prom_labels(const char **s, char le[64])
{
    const char *p = *s + 1;

    while (*p != '}') {
        size_t n = prom_name(p, false), m = 0;
        bool is_le = n == 2 && strncmp(p, "le", 2) == 0;

        if (n == 0 || p[n] != '=' || p[n + 1] != '"')
            return false;
        for (p += n + 2; *p != '"'; p++) {
            if (*p == '\0' || (*p == '\\' && *++p != '\\' && *p != '"' && *p != 'n'))
                return false;
            if (is_le && m < 63)
                le[m++] = *p;
        }
        if (is_le)
            le[m] = '\0';
        p++;
        if (*p == ',' && p[1] != '}')
            p++;
        else if (*p != '}')
            return false;
    }
    *s = p + 1;
    return true;
}

static bool prom_number(const char *s, double *ret)
{
    char *end;

    if (strcmp(s, "+Inf") == 0 || strcmp(s, "NaN") == 0 || strcmp(s, "-Inf") == 0) {
        *ret = s[0] == 'N' ? (double)NAN : s[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (*s == '\0' || strspn(s, "0123456789+-.eE") != strlen(s))
        return false;
    *ret = strtod(s, &end);
    return *end == '\0';
}

static bool prom_histogram(struct prom *p, const char *suffix, const char *le, double value, const char *line)
{
    double bound;

    if (strcmp(suffix, "_sum") == 0)
        return p->has_sum = true;
    if (strcmp(suffix, "_count") == 0) {
        p->has_count = true;
        return p->has_inf && value == p->inf ? true : prom_fault(p, "_count is not +Inf", line);
    }
    if (strcmp(suffix, "_bucket") != 0 || !prom_number(le, &bound))
        return prom_fault(p, "bucket without le", line);
    if (!(bound > p->le_last) || value < p->bucket_last)
        return prom_fault(p, "buckets fall", line);
    p->le_last = bound;
    p->bucket_last = value;
    if (isinf(bound)) {
        p->has_inf = true;
        p->inf = value;
    }
    return true;
}

static bool prom_sample(struct prom *p, const char *line)
{
    const char *s = line + prom_name(line, true);
    char name[PROM_NAME_MAX] = "", le[64] = "";
    size_t n = strlen(p->family);
    bool histogram = strcmp(p->type, "histogram") == 0;
    double value;

    if (s == line || (size_t)(s - line) >= sizeof(name))
        return prom_fault(p, "no name", line);
    memcpy(name, line, (size_t)(s - line));
    if (!p->has_type || strncmp(name, p->family, n) != 0 || (!histogram && name[n] != '\0'))
        return prom_fault(p, "a sample outside of its family", line);
    if (*s == '{' && !prom_labels(&s, le))
        return prom_fault(p, "bad labels", line);
    for (size_t i = 0; i < p->n_series; i++)
        if (strncmp(p->series[i], line, (size_t)(s - line)) == 0 && p->series[i][s - line] == '\0')
            return prom_fault(p, "a series twice", line);
    p->series[p->n_series++] = strndup(line, (size_t)(s - line));
    if (*s != ' ' || !prom_number(s + 1, &value))
        return prom_fault(p, "no number", line);
    if (strcmp(p->type, "counter") == 0 && !(value >= 0))
        return prom_fault(p, "a counter below 0", line);
    return histogram ? prom_histogram(p, name + n, le, value, line) : true;
}

/* The fault, or NULL. Good until the next call. */
static const char *prom_check(const char *page)
{
    static struct prom p;
    char *copy = strdup(page), *rest = copy;
    bool good = true;

    memset(&p, 0, sizeof(p));
    if (page[0] == '\0' || page[strlen(page) - 1] != '\n')
        good = prom_fault(&p, "the last line has no end", "");
    for (char *line; good && (line = strsep(&rest, "\n")) && rest;) {
        if (strncmp(line, "# HELP ", 7) == 0)
            good = prom_help(&p, line + 7, line);
        else if (strncmp(line, "# TYPE ", 7) == 0)
            good = prom_type(&p, line + 7, line);
        else
            good = prom_sample(&p, line);
    }
    good = good && prom_close(&p);
    for (size_t i = 0; i < p.n_series; i++)
        free(p.series[i]);
    free(copy);
    return good ? NULL : p.fault;
}

#endif
