/* What is committed, by whom, and whether it was: the half of the Kafka driver that exactly-once rests on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "kafka/lanes.h"

#define OTHERS_MS 100
/* No commit is under way for longer: transaction.timeout.ms (producer.c), then until the broker next looks for those that are over their time, 10 s
 * as it comes (transaction.abort.timed.out.transaction.cleanup.interval.ms), and 10 s to end them. */
#define UNDECIDED_MS_MAX 30000
#define UNDECIDED_ASK_MS 1000

/* The coordinator moves, or has just started. */
static bool is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
           code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
}

/* isolation.level read_committed makes a client ask for stable offsets, which none is over that a transaction is about to move. */
static rd_kafka_resp_err_t ask_once(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    rd_kafka_resp_err_t code = rd_kafka_committed(client, list, timeout_ms);

    for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        code = list->elems[i].err;
    return code;
}

/* Later there is an answer. */
static bool is_for_now(rd_kafka_resp_err_t code)
{
    return is_passing(code) || code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT;
}

/* Offset and metadata as the group's coordinator has them now, pending transactions decided first. One that the coordinator still holds for open
 * when it must long be over is none (docs/adr/0003): nobody else can have begun one, for these partitions are ours since before. */
static enum status ask_committed(struct log_kafka *k, rd_kafka_topic_partition_list_t *list, struct error *err)
{
    int64_t deadline = clock_mono_ms() + 3 * LANES_CALL_MS;
    rd_kafka_resp_err_t code;
    char what[300];

    while (is_for_now(code = ask_once(SAFE(M_OFFSETS_STABLE) ? k->consumer : k->asker, list, k->undecided_ms ? UNDECIDED_ASK_MS : LANES_CALL_MS)) &&
           (k->undecided_ms || clock_mono_ms() < deadline)) {
        if (ask_once(k->asker, list, LANES_CALL_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            k->undecided_ms = 0;
        } else if (k->undecided_ms == 0) {
            k->undecided_ms = clock_mono_ms();
        } else if (clock_mono_ms() - k->undecided_ms >= UNDECIDED_MS_MAX) {
            log_warn("offsets_undecided", "group=%s topic=%s partition=%d for_ms=%" PRId64, k->group, list->elems[0].topic, list->elems[0].partition,
                     clock_mono_ms() - k->undecided_ms);
            return OK;
        }
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return OK;
    snprintf(what, sizeof(what), "committed offsets of group %s", k->group);
    (void)conf_explain(err, code, k->brokers, what);
    return err->status = is_passing(code) ? ERR_RETRY : err->status;
}

static void copy_metadata(char ret[64], const rd_kafka_topic_partition_t *tp)
{
    size_t n = tp->metadata == NULL ? 0 : tp->metadata_size;

    if (n > 63)
        n = 63;
    if (n > 0)
        memcpy(ret, tp->metadata, n);
    ret[n] = '\0';
}

enum status log_kafka_committed(struct log *l, int task, struct log_position *ret, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    AUTO(tplist) list = rd_kafka_topic_partition_list_new((int)k->n_inputs + 1);
    enum status s;

    for (size_t i = 0; i < k->n_inputs; i++) {
        ret[i] = (struct log_position){.input = (int)i, .partition = task, .offset = -1};
        if (lanes_at(k, (int)i, task) != NULL)
            rd_kafka_topic_partition_list_add(list, k->inputs[i].topic->broker_name, task);
    }
    if (list->cnt == 0)
        return OK;
    s = ask_committed(k, list, err);
    if (s != OK)
        return s;
    for (int j = 0; j < list->cnt; j++) {
        int i = lanes_input(k, list->elems[j].topic);
        struct lane *lane = lanes_at(k, i, task);

        ret[i].offset = list->elems[j].offset < 0 ? -1 : list->elems[j].offset;
        copy_metadata(ret[i].metadata, &list->elems[j]);
        lane->committed = ret[i].offset;
        memcpy(lane->metadata, ret[i].metadata, sizeof(lane->metadata));
    }
    return OK;
}

/* From what they committed last: never more than they have, so who obeys it cannot run too far ahead. */
enum status log_kafka_others(struct log *l, int64_t *ret_at, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    int n = k->inputs[0].n_lanes;
    int64_t *at = xmalloc((size_t)n * sizeof(*at)), *ends = xmalloc((size_t)n * sizeof(*ends));
    int *partitions = xmalloc((size_t)n * sizeof(*partitions));
    bool *left = xcalloc((size_t)n, sizeof(*left));
    enum status s = OK;

    for (int p = 0; p < n; p++) {
        at[p] = INT64_MIN;
        partitions[p] = p;
    }
    for (size_t i = 0; i < k->n_inputs && s == OK; i++) {
        AUTO(tplist) list = rd_kafka_topic_partition_list_new(n);

        for (int p = 0; p < n; p++)
            rd_kafka_topic_partition_list_add(list, k->inputs[i].topic->broker_name, p);
        s = conf_ends(k->asker, k->brokers, k->inputs[i].topic->broker_name, partitions, (size_t)n, ends, err);
        /* Who waits here serves no rebalance: what was heard last will do. So will offsets that a transaction is about to move. */
        if (s == OK && is_for_now(ask_once(k->asker, list, OTHERS_MS)))
            goto done;
        for (int j = 0; j < list->cnt && s == OK; j++) {
            int p = list->elems[j].partition;
            int64_t own;
            char metadata[64];

            copy_metadata(metadata, &list->elems[j]);
            if (sscanf(metadata, "{\"taken\":%*d,\"at\":%" SCNd64, &own) == 1 && own > at[p])
                at[p] = own;
            left[p] |= ends[p] > (list->elems[j].offset < 0 ? 0 : list->elems[j].offset);
        }
    }
    *ret_at = INT64_MAX;
    for (int p = 0; p < n; p++)
        if (!k->inputs[0].lanes[p].assigned && left[p] && at[p] < *ret_at)
            *ret_at = at[p];
done:
    free(at);
    free(ends);
    free(partitions);
    free(left);
    return s;
}

static rd_kafka_topic_partition_list_t *offsets_of(const struct log_kafka *k, const struct log_position *at, size_t n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n + 1);

    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_partition_t *tp =
            rd_kafka_topic_partition_list_add(list, k->inputs[at[i].input].topic->broker_name, at[i].partition);
        size_t n_metadata = strnlen(at[i].metadata, sizeof(at[i].metadata));

        tp->offset = at[i].offset;
        if (n_metadata > 0) {
            tp->metadata = malloc(n_metadata);
            if (tp->metadata != NULL) {
                memcpy(tp->metadata, at[i].metadata, n_metadata);
                tp->metadata_size = n_metadata;
            }
        }
    }
    return list;
}

static bool is_committed(const struct lane *lane, const struct log_position *at)
{
    return lane->committed == at->offset && strncmp(lane->metadata, at->metadata, sizeof(lane->metadata)) == 0;
}

static void remember(struct log_kafka *k, const struct log_position *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = lanes_at(k, at[i].input, at[i].partition);

        lane->committed = at[i].offset;
        memcpy(lane->metadata, at[i].metadata, sizeof(lane->metadata));
    }
}

/* After an unknown outcome: offsets that moved tell it. OK: it was committed. */
static enum status learn(struct log_kafka *k, const struct log_position *at, size_t n, bool *ret_unmoved,
                         struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct lane *lane = lanes_at(k, at[i].input, at[i].partition);
        AUTO(tplist) list = NULL;
        char metadata[64];
        enum status s;

        if (is_committed(lane, &at[i]))
            continue; /* it would not have moved */
        if (!SAFE(M_OUTCOME_LEARNED)) {
            *ret_unmoved = true;
            break;
        }
        list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, k->inputs[at[i].input].topic->broker_name, at[i].partition);
        s = ask_committed(k, list, err);
        if (s != OK)
            return s;
        copy_metadata(metadata, &list->elems[0]);
        if (list->elems[0].offset == at[i].offset && strcmp(metadata, at[i].metadata) == 0) {
            log_info("commit_learned", "group=%s outcome=committed", k->group);
            remember(k, at, n);
            return OK;
        }
        *ret_unmoved = list->elems[0].offset >= 0 && list->elems[0].offset == lane->committed; /* none: a group may forget */
        log_info("commit_learned", "group=%s outcome=not_committed", k->group);
        return err_set(err, ERR_RETRY, "a commit of %s did not come through", k->group);
    }
    return err_set(err, k->n_inputs == 0 ? ERR_FATAL : ERR_RETRY, "the outcome of a commit of %s is not known: restore", k->group);
}

enum status log_kafka_abort(struct log *l, struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    enum status s = outbox_abort(k->outbox, err);

    k->stale = false;
    k->n_put = 0;
    return s == OK ? txn_abort(k->txn, err) : s;
}

static enum status refuse(struct log_kafka *k, const char *why, struct error *err)
{
    enum status s;

    k->stale = false;
    k->n_put = 0;
    s = txn_abort(k->txn, err);
    return s == OK ? err_set(err, ERR_RETRY, "commit of %s: %s", k->group, why) : s;
}

static bool is_rebalance(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

/* Of this moment: a cached generation fences nobody, or oneself. */
static rd_kafka_consumer_group_metadata_t *commit_group(struct log_kafka *k)
{
    if (SAFE(M_GENERATION_NOW) || k->first_group == NULL)
        k->first_group = rd_kafka_consumer_group_metadata(k->consumer);
    return k->first_group;
}

/* Before anything that reflects them is committed, outputs are safe. */
static enum status deliver(struct log_kafka *k, bool *ret_unmoved, struct error *err)
{
    enum status s = outbox_flush(k->outbox, ret_unmoved, err);
    struct error worse;

    if (s == OK)
        return OK;
    k->n_put = 0;
    if (s == ERR_RETRY && txn_abort(k->txn, &worse) != OK) {
        *ret_unmoved = false;
        *err = worse;
    }
    return err->status;
}

/* A position that is committed already; false: none is. */
static bool committed_one(const struct log_kafka *k, struct log_position *ret)
{
    for (size_t i = 0; i < k->n_inputs; i++)
        for (int p = 0; p < k->inputs[i].n_lanes; p++) {
            const struct lane *lane = &k->inputs[i].lanes[p];

            if (!lane->flowing || lane->committed < 0)
                continue;
            *ret = (struct log_position){.input = (int)i, .partition = p, .offset = lane->committed};
            memcpy(ret->metadata, lane->metadata, sizeof(ret->metadata));
            return true;
        }
    return false;
}

enum status log_kafka_commit(struct log *l, const struct log_position *at, size_t n, bool *ret_unmoved,
                             struct error *err)
{
    struct log_kafka *k = log_kafka_of(l);
    struct log_position same;
    AUTO(tplist) list = NULL;
    AUTO(kgroup) group = NULL;
    enum txn_outcome outcome;
    enum status s;

    *ret_unmoved = false;
    if (k->stale)
        return refuse(k, "its assignment has gone", err);
    if (k->outbox && SAFE(M_OUTPUTS_FIRST) && deliver(k, ret_unmoved, err) != OK)
        return err->status;
    k->n_put = 0;
    if (n == 0 && !txn_is_open(k->txn))
        return OK;
    /* State alone moves no position, and only with one is the group asked whether its partitions are still ours. */
    if (n == 0 && k->n_inputs > 0 && SAFE(M_STATE_FENCED)) {
        if (!committed_one(k, &same))
            return refuse(k, "no position of its inputs is known", err);
        at = &same;
        n = 1;
    }
    for (size_t i = 0; i < n; i++) {
        const struct lane *lane = lanes_at(k, at[i].input, at[i].partition);

        if (lane == NULL || !lane->flowing || at[i].offset < 0)
            return refuse(k, "a position is not of the present assignment", err);
    }
    if (n > 0) {
        list = offsets_of(k, at, n);
        group = commit_group(k);
        if (group == NULL || (rd_kafka_consumer_group_metadata_generation_id(group) < 0 && SAFE(M_GENERATION_NONE)))
            return refuse(k, "the group has no generation for this member", err);
    }
    s = SAFE(M_OFFSETS_TOGETHER) ? OK : txn_commit(k->txn, NULL, NULL, &outcome, err);
    if (s == OK)
        s = txn_commit(k->txn, list, group, &outcome, err);
    if (s == OK) {
        remember(k, at, n);
        return SAFE(M_OUTPUTS_FIRST) || k->outbox == NULL ? OK : deliver(k, ret_unmoved, err);
    }
    if (txn_is_spent(k->txn))
        return s; /* what was under way may still be: nothing is to be learned yet */
    if (outcome == TXN_UNKNOWN && s == ERR_RETRY)
        s = learn(k, at, n, ret_unmoved, err);
    else
        *ret_unmoved = s == ERR_RETRY && !is_rebalance(txn_code(k->txn));
    return s;
}
