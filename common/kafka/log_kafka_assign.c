/*
 * common/kafka/log_kafka_assign.c: which partitions are this process's, and where each goes on.
 *
 * The group gives and takes whole assignments (assignor `range`: equal partition numbers of all inputs together, or it is an error).
 * Nothing flows in a lane until the loop has said where: a seek is remembered, and the next take assigns all lanes anew. What is
 * revoked stays committable until the take after the one that said so.
 */

#include <string.h>

#include "base/fail.h"
#include "base/mutant.h"
#include "kafka/lanes.h"

struct lane *lanes_at(struct log_kafka *k, int input, int partition)
{
    if (input < 0 || (size_t)input >= k->n_inputs || partition < 0 || partition >= k->inputs[input].n_lanes)
        return NULL;
    return &k->inputs[input].lanes[partition];
}

int lanes_input(const struct log_kafka *k, const char *topic)
{
    for (size_t i = 0; i < k->n_inputs; i++)
        if (strcmp(k->inputs[i].topic->broker_name, topic) == 0)
            return (int)i;
    return -1;
}

int lanes_max(const struct log_kafka *k)
{
    int n = 0;

    for (size_t i = 0; i < k->n_inputs; i++)
        if (k->inputs[i].n_lanes > n)
            n = k->inputs[i].n_lanes;
    return n;
}

void lanes_forget(struct log_kafka *k)
{
    for (size_t i = 0; i < k->n_inputs; i++)
        for (int p = 0; p < k->inputs[i].n_lanes; p++)
            k->inputs[i].lanes[p] = (struct lane){.committed = -1};
    k->n_tasks = 0;
    k->revoking = k->repointed = false;
    k->stale = k->txn != NULL && txn_is_open(k->txn) && SAFE(M_STALE_ABORTED);
}

static void take_assignment(struct log_kafka *k, const rd_kafka_topic_partition_list_t *list)
{
    lanes_forget(k);
    for (int i = 0; i < list->cnt; i++) {
        struct lane *lane = lanes_at(k, lanes_input(k, list->elems[i].topic), list->elems[i].partition);

        if (lane != NULL)
            lane->assigned = true;
    }
    for (int p = 0; p < lanes_max(k); p++) {
        size_t have = 0, exist = 0;

        for (size_t i = 0; i < k->n_inputs; i++) {
            exist += p < k->inputs[i].n_lanes;
            have += p < k->inputs[i].n_lanes && k->inputs[i].lanes[p].assigned;
        }
        if (have == exist && exist > 0)
            k->tasks[k->n_tasks++] = p;
        else if (have > 0)
            (void)err_set(&k->fault, ERR_FATAL,
                          "group %s: partition %d came for %zu of %zu inputs: the inputs of a stage must have equal "
                          "partition counts, and every member the assignor `range`",
                          k->group, p, have, exist);
    }
}

/* Runs inside take: the consumer's queue serves it. */
void lanes_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque)
{
    struct log_kafka *k = opaque;

    k->changed = true;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        AUTO(tplist) none = rd_kafka_topic_partition_list_new(0);

        slot_joined(k);
        take_assignment(k, list);
        (void)rd_kafka_assign(consumer, none); /* lanes are assigned as the loop says where they begin */
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS && !rd_kafka_assignment_lost(consumer)) {
        k->revoking = true;
        k->n_tasks = 0;
        (void)FAIL("log.revoking", &k->fault);
    } else {
        lanes_forget(k);
        k->lost = true;
    }
}

void lanes_give_back(struct log_kafka *k)
{
    lanes_forget(k);
    (void)rd_kafka_assign(k->consumer, NULL);
}

enum status lanes_give_back_lost(struct log_kafka *k, struct error *err)
{
    if (SAFE(M_NAME_LEFT) && slot_is_ours(k, err) != OK)
        return err->status;
    k->lost = false;
    lanes_give_back(k);
    return OK;
}

enum status lanes_repoint(struct log_kafka *k, struct error *err)
{
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(8);
    AUTO(tplist) paused = rd_kafka_topic_partition_list_new(8);
    AUTO(tplist) others = rd_kafka_topic_partition_list_new(8);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < k->n_inputs; i++)
        for (int p = 0; p < k->inputs[i].n_lanes; p++) {
            const struct lane *lane = &k->inputs[i].lanes[p];
            const char *topic = k->inputs[i].topic->broker_name;

            if (!lane->flowing)
                continue;
            rd_kafka_topic_partition_list_add(list, topic, p)->offset =
                lane->next < 0 ? RD_KAFKA_OFFSET_BEGINNING : lane->next;
            rd_kafka_topic_partition_list_add(lane->paused ? paused : others, topic, p);
        }
    code = rd_kafka_assign(k->consumer, list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && paused->cnt > 0)
        code = rd_kafka_pause_partitions(k->consumer, paused);
    /* librdkafka remembers a pause beyond the assignment that it was made in. */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && others->cnt > 0)
        code = rd_kafka_resume_partitions(k->consumer, others);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return conf_explain(err, code, k->brokers, "assign partitions");
    k->repointed = false;
    return OK;
}

enum status log_kafka_seek(struct log *l, int input, int partition, int64_t offset, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    struct lane *lane = lanes_at(k, input, partition);

    if (lane == NULL || !lane->assigned)
        return err_set(err, ERR_RETRY, "seek: partition %d of input %d is not assigned here (any more)", partition,
                       input);
    lane->flowing = true;
    lane->paused = false;
    lane->next = offset < 0 ? -1 : offset;
    k->repointed = true;
    return OK;
}

enum status log_kafka_pause(struct log *l, int input, int partition, bool paused, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    struct lane *lane = lanes_at(k, input, partition);
    AUTO(tplist) list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    if (lane == NULL || !lane->assigned || lane->paused == paused)
        return OK;
    lane->paused = paused;
    if (!lane->flowing || k->repointed)
        return OK; /* lanes_repoint does it */
    rd_kafka_topic_partition_list_add(list, k->inputs[input].topic->broker_name, partition);
    code = paused ? rd_kafka_pause_partitions(k->consumer, list) : rd_kafka_resume_partitions(k->consumer, list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? OK : conf_explain(err, code, k->brokers, "pause a partition");
}
