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
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/kafka.h"
#include "kafka/lanes.h"

#define JOIN_MS 20000 /* joining again, the group may know our new member id before we do */
#define LOOK_MS 100
#define LEFT_MS 1000 /* where the broker does not answer, the loop goes round */
#define UUID_CHARS 36

enum holder { NOBODY, OURSELVES, ANOTHER };

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

/* By the older call: rd_kafka_DescribeConsumerGroups asserts in librdkafka 2.16 once its answer is late (its issue 5397). */
static enum status ask(struct log_kafka *k, int timeout_ms, enum holder *ret_holder, struct error *err)
{
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code = rd_kafka_list_groups(k->asker, k->group, &list, timeout_ms);
    char member[256] = "", what[300], *ours;

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
    ours = rd_kafka_memberid(k->consumer);
    *ret_holder = member[0] == '\0'                                                       ? NOBODY
                  : (ours && strcmp(ours, member) == 0) || strcmp(k->member, member) == 0 ? OURSELVES
                                                                                         : ANOTHER;
    free(ours);
    return OK;
}

void slot_joined(struct log_kafka *k)
{
    char *ours = rd_kafka_memberid(k->consumer);

    snprintf(k->member, sizeof(k->member), "%s", ours ? ours : "");
    free(ours);
}

static enum status judge(const struct log_kafka *k, enum holder holder, struct error *err)
{
    return holder == ANOTHER ? err_set(err, ERR_FATAL, "another instance took the place of %s in group %s", k->id, k->group) : OK;
}

enum status slot_is_left(struct log_kafka *k, struct error *err)
{
    enum holder holder;

    return ask(k, LEFT_MS, &holder, err) == OK ? judge(k, holder, err) : err->status;
}

enum status slot_is_ours(void *log_kafka, struct error *err)
{
    struct log_kafka *k = log_kafka;
    int64_t deadline = clock_mono_ms() + JOIN_MS;
    enum holder holder = ANOTHER;

    for (;;) {
        if (ask(k, LANES_CALL_MS, &holder, err) != OK)
            return err->status;
        if (holder != ANOTHER || rd_kafka_fatal_error(k->consumer, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR ||
            clock_mono_ms() >= deadline)
            break;
        clock_nap_ms(LOOK_MS);
    }
    return judge(k, holder, err);
}
