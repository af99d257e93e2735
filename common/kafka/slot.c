/*
 * common/kafka/slot.c: who holds this instance's name.
 *
 * A fenced producer does not say why: the broker ended a transaction that lasted too long (this process was slow or stopped), or
 * another process has taken the transactional id. The group tells: its member of our name is we, or nobody (we were dropped and
 * join again), or another. Only in the last case would a new producer do harm, to that one. Nothing rests on the answer but who
 * stays: what is committed is fenced by the group's generation.
 *
 * A consumer that librdkafka has given up for fenced does not say either: after a session that ended because the broker was away,
 * librdkafka 2.16 forgets its member id, and a heartbeat before it has joined again (the application was in a commit, and served
 * no rebalance) comes from nobody under our name. The same happens to a process that was stopped for longer than its session; and
 * when that joins again, as nobody under our name, it fences whoever took its place meanwhile. So it looks first.
 *
 * Another is not always somebody. A broker that was killed may come back with an older group, in which the member of our name is who we
 * were before; and a join whose answer was lost made a member that nobody stands for. Who we were we remember; nobody's session ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "kafka/kafka.h"
#include "kafka/lanes.h"

#define MORE_MS 5000 /* after a session and this, a member that nobody stands for is gone, and one that was joining knows its id */
#define LOOK_MS 100
#define LOOK_CALL_MS 1000 /* where the broker does not answer, the loop goes round */
#define UUID_CHARS 36

/* What the group's coordinator calls the member of this name, in id; empty: there is none. It makes a static member's id of its
 * name, a hyphen and a UUID. */
static void member_of(const struct rd_kafka_group_info *group, const char *name, char id[256])
{
    size_t n = strlen(name);

    id[0] = '\0';
    for (int i = 0; i < group->member_cnt; i++) {
        const char *member = group->members[i].member_id;

        if (strlen(member) == n + 1 + UUID_CHARS && strncmp(member, name, n) == 0 && member[n] == '-')
            snprintf(id, 256, "%s", member);
    }
}

static bool was_ours(const struct log_kafka *k, const char *member)
{
    for (size_t i = 0; i < k->n_members; i++)
        if (strcmp(k->members[i], member) == 0)
            return true;
    return false;
}

void slot_joined(struct log_kafka *k)
{
    char *ours = rd_kafka_memberid(k->consumer);

    if (ours == NULL || was_ours(k, ours)) {
        free(ours);
        return;
    }
    k->members = xrealloc(k->members, (k->n_members + 1) * sizeof(*k->members));
    k->members[k->n_members++] = ours;
}

void slot_forget(struct log_kafka *k)
{
    while (k->n_members > 0)
        free(k->members[--k->n_members]);
    free(k->members);
}

/* By the older call: rd_kafka_DescribeConsumerGroups asserts in librdkafka 2.16 once its answer is late (its issue 5397). */
static enum status ask(struct log_kafka *k, bool *ret_ours, struct error *err)
{
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code = rd_kafka_list_groups(k->asker, k->group, &list, LOOK_CALL_MS);
    char member[256] = "", what[300];

    if (list != NULL && list->group_cnt == 1) {
        code = list->groups[0].err;
        member_of(&list->groups[0], k->id, member);
    }
    if (list != NULL)
        rd_kafka_group_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(what, sizeof(what), "members of group %s", k->group);
        (void)conf_explain(err, code, k->brokers, what);
        return err->status = ERR_RETRY; /* a coordinator that moves or starts */
    }
    slot_joined(k);
    *ret_ours = member[0] == '\0' || was_ours(k, member);
    return OK;
}

enum status slot_is_ours(void *log_kafka, struct error *err)
{
    struct log_kafka *k = log_kafka;
    int64_t deadline = clock_mono_ms() + k->session_ms + MORE_MS;
    bool ours;

    while (ask(k, &ours, err) == OK) {
        if (ours)
            return OK;
        if (clock_mono_ms() >= deadline || !SAFE(M_GHOST_WAITED))
            return err_set(err, ERR_FATAL, "another instance took the place of %s in group %s", k->id, k->group);
        clock_nap_ms(LOOK_MS);
    }
    return err->status;
}
