#include "base/fail.h"

#ifdef FAILPOINTS
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define RULES_MAX 16

struct rule {
    char point[64], act[32];
    long hit; /* 0: each */
    long passed;
};

static struct rule rules[RULES_MAX];
static size_t n_rules;
static bool is_read;

static void read_rules(void)
{
    const char *text = getenv("MILLRACE_FAIL");
    int used = 0;

    is_read = true;
    for (; text && *text; text += used + (text[used] == ',')) {
        struct rule *r = &rules[n_rules];

        if (n_rules == RULES_MAX || sscanf(text, "%63[^:,]:%ld:%31[^,]%n", r->point, &r->hit, r->act, &used) != 3) {
            fprintf(stderr, "MILLRACE_FAIL: expected up to %d of POINT:HIT:ACT[,...] at '%s'\n", RULES_MAX, text);
            exit(2);
        }
        n_rules++;
    }
}

static enum status act(const struct rule *r, struct error *err)
{
    if (r->hit != 0)
        log_warn("fail_point", "point=%s hit=%ld act=%s", r->point, r->passed, r->act);
    if (strcmp(r->act, "kill") == 0)
        raise(SIGKILL);
    else if (strcmp(r->act, "stop") == 0)
        raise(SIGSTOP);
    else if (strncmp(r->act, "delay=", 6) == 0)
        clock_nap_ms(atoi(r->act + 6));
    else if (strcmp(r->act, "error") == 0)
        return err_set(err, ERR_RETRY, "fail point %s", r->point);
    return OK;
}

enum status fail_point(const char *point, struct error *err)
{
    enum status s = OK;

    if (!is_read)
        read_rules();
    for (size_t i = 0; i < n_rules && s == OK; i++)
        if (strcmp(rules[i].point, point) == 0 && (++rules[i].passed == rules[i].hit || rules[i].hit == 0))
            s = act(&rules[i], err);
    return s;
}
#endif
