/*
 * common/kafka/slot.c: who holds this instance's name.
 *
 * A fenced producer does not say why: the broker ended a transaction that lasted too long (this process was slow or stopped), or
 * another process has taken the transactional id. The group tells: its member of our name is we, or nobody (we were dropped and
 * join again), or another. Only in the last case would a new producer do harm, to that one. Nothing rests on the answer but who
 * stays: what is committed is fenced by the group's generation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/kafka.h"
#include "kafka/lanes.h"

#define JOIN_MS 20000 /* joining again, the group may know our new member id before we do */
#define LOOK_MS 100

enum holder { NOBODY, OURSELVES, ANOTHER };

/* What the group's coordinator calls the member of this name, in id; empty: there is none. */
static void member_of(const rd_kafka_ConsumerGroupDescription_t *group, const char *name, char id[256])
{
    id[0] = '\0';
    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
        const rd_kafka_MemberDescription_t *m = rd_kafka_ConsumerGroupDescription_member(group, i);
        const char *held = rd_kafka_MemberDescription_group_instance_id(m);

        if (held && strcmp(held, name) == 0)
            snprintf(id, 256, "%s", rd_kafka_MemberDescription_consumer_id(m));
    }
}

static enum status ask(struct log_kafka *k, enum holder *ret_holder, struct error *err)
{
    AUTO(koptions) options = rd_kafka_AdminOptions_new(k->asker, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    AUTO(kqueue) queue = rd_kafka_queue_new(k->asker);
    AUTO(kevent) event = NULL;
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    const char *names[] = {k->group};
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    char member[256], what[300], *ours;
    size_t n = 0;

    (void)rd_kafka_AdminOptions_set_request_timeout(options, LANES_CALL_MS, NULL, 0);
    rd_kafka_DescribeConsumerGroups(k->asker, names, 1, options, queue);
    event = rd_kafka_queue_poll(queue, LANES_CALL_MS + 1000);
    if (event && (code = rd_kafka_event_error(event)) == RD_KAFKA_RESP_ERR_NO_ERROR)
        groups = rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &n);
    if (n == 1 && rd_kafka_ConsumerGroupDescription_error(groups[0]))
        code = rd_kafka_error_code(rd_kafka_ConsumerGroupDescription_error(groups[0]));
    if (n != 1 || code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(what, sizeof(what), "members of group %s", k->group);
        (void)conf_explain(err, code, k->brokers, what);
        return err->status = ERR_RETRY; /* a coordinator that moves or starts */
    }
    member_of(groups[0], k->id, member);
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

enum status slot_is_ours(void *log_kafka, struct error *err)
{
    struct log_kafka *k = log_kafka;
    int64_t deadline = clock_mono_ms() + JOIN_MS;
    enum holder holder = ANOTHER;

    while (holder == ANOTHER && clock_mono_ms() < deadline) {
        if (rd_kafka_fatal_error(k->consumer, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        if (ask(k, &holder, err) != OK)
            return err->status;
        if (holder == ANOTHER)
            clock_nap_ms(LOOK_MS);
    }
    return holder == ANOTHER ? err_set(err, ERR_FATAL, "another instance took the place of %s in group %s", k->id, k->group) : OK;
}
