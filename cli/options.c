#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "wire/text.h"

int cli_wrong(const char *command, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "millrace %s: ", command);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nSee `millrace help %s`.\n", command);
    return EXIT_CALL;
}

int cli_failed(const char *command, const struct error *err)
{
    fprintf(stderr, "millrace %s: %s\n", command, err->text);
    return 1;
}

/* The text after the option's name in the same word, "" when none; NULL: another option. */
static const char *match(const char *word, const struct cli_option *o)
{
    size_t n = strlen(o->name);

    if (strncmp(word, o->name, n) != 0)
        return NULL;
    if (word[n] == '\0')
        return "";
    if (o->name[1] == '-')
        return word[n] == '=' ? word + n + 1 : NULL;
    return o->value != NULL ? word + n : NULL;
}

static bool same_name(const struct cli_option *a, const struct cli_option *b)
{
    return strcmp(a->name, b->name) == 0;
}

/* Of the places of an option that is given once more, the next free one. `given` has a bit for each. False: it has none left. */
static bool next_place(const char *command, const struct cli_option *options, size_t n, uint64_t *given, size_t *place)
{
    size_t first = *place, i = first;

    while (i < n && same_name(&options[i], &options[first]) && *given >> i & 1)
        i++;
    if (i == n || !same_name(&options[i], &options[first]))
        return cli_wrong(command, "'%s' may be given %zu time%s, and is once more", options[first].name, i - first,
                         i - first > 1 ? "s" : ""),
               false;
    *given |= UINT64_C(1) << i;
    *place = i;
    return true;
}

bool cli_options(int argc, char **argv, const struct cli_option *options, size_t n, const char **args, size_t max,
                 size_t *ret_n_args)
{
    bool only_args = false;
    uint64_t given = 0;

    *ret_n_args = 0;
    for (int i = 1; i < argc; i++) {
        const char *rest = NULL;
        size_t o = 0;

        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
            continue;
        }
        if (only_args || argv[i][0] != '-' || argv[i][1] == '\0') {
            if (*ret_n_args == max)
                return cli_wrong(argv[0], "'%s' is one argument too many", argv[i]), false;
            args[(*ret_n_args)++] = argv[i];
            continue;
        }
        while (o < n && (rest = match(argv[i], &options[o])) == NULL)
            o++;
        if (o == n)
            return cli_wrong(argv[0], "there is no option '%s'", argv[i]), false;
        if (options[o].flag != NULL) {
            *options[o].flag = true;
            continue;
        }
        if (!next_place(argv[0], options, n, &given, &o))
            return false;
        if (*rest == '\0' && strchr(argv[i], '=') == NULL) {
            if (i + 1 == argc)
                return cli_wrong(argv[0], "'%s' needs a value", argv[i]), false;
            rest = argv[++i];
        }
        *options[o].value = rest;
    }
    return true;
}

bool cli_number(const char *text, long long min, long long max, long long *ret)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

bool cli_time(const char *text, int64_t *ret_ms)
{
    return text_parse_moment(view_str(text), ret_ms);
}
