/* test/sim/broker.c: partitions, and the transaction coordinator. The group coordinator is in group.c. */
#include "test/sim/broker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

struct broker *broker_new(void)
{
    static struct broker b;

    for (size_t t = 0; t < b.n_topics; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            free(b.topics[t].partitions[p].records);
    free(b.plain_seq);
    memset(&b, 0, sizeof(b));
    b.sweep_us = 1000000;
    return &b;
}

int broker_topic(struct broker *b, const char *name)
{
    for (size_t i = 0; i < b->n_topics; i++) /* most callers have it from here */
        if (b->topics[i].name == name)
            return (int)i;
    for (size_t i = 0; i < b->n_topics; i++)
        if (strcmp(b->topics[i].name, name) == 0)
            return (int)i;
    return -1;
}

int broker_make_topic(struct broker *b, const char *name, int n_partitions, bool compact)
{
    assert(b->n_topics < TOPICS_MAX && n_partitions <= PARTITIONS_MAX);
    b->topics[b->n_topics] = (struct topic_log){.name = name, .compact = compact, .n_partitions = n_partitions};
    return (int)b->n_topics++;
}

/* ---- a partition ---- */

/* The last stable offset: no record below it is undecided. What becomes visible is told, in order, once. */
static void settle(struct broker *b, int topic, int partition)
{
    struct partition *p = &b->topics[topic].partitions[partition];

    while (p->lso < p->n && (p->records[p->lso].kind != KIND_DATA || p->records[p->lso].fate != FATE_OPEN))
        p->lso++;
    for (; p->seen < p->lso; p->seen++)
        if (b->visible && p->records[p->seen].kind == KIND_DATA && p->records[p->seen].fate == FATE_COMMITTED)
            b->visible(topic, partition, p->seen, &p->records[p->seen]);
}

static struct record *append(struct broker *b, int topic, int partition)
{
    struct partition *p = &b->topics[topic].partitions[partition];
    struct record *r;

    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->records = xrealloc(p->records, (size_t)p->cap * sizeof(*p->records));
    }
    r = &p->records[p->n++];
    *r = (struct record){.arrival_ms = b->wall_ms + b->now_us / 1000, .pid = -1, .fate = FATE_COMMITTED};
    return r;
}

static void fill(struct record *r, const struct produced *p)
{
    r->key = p->key;
    r->value = p->value;
    memcpy(r->headers, p->headers, sizeof(r->headers));
    r->n_headers = p->n_headers;
}

void broker_append(struct broker *b, const struct produced *p)
{
    fill(append(b, p->topic, p->partition), p);
    settle(b, p->topic, p->partition);
}

int broker_init_plain(struct broker *b)
{
    b->plain_seq = xrealloc(b->plain_seq, (size_t)(b->n_plain + 1) * sizeof(*b->plain_seq));
    memset(b->plain_seq[b->n_plain], 0, sizeof(*b->plain_seq));
    return b->n_plain++;
}

rd_kafka_resp_err_t broker_produce_plain(struct broker *b, int pid, int32_t seq, const struct produced *p, size_t n)
{
    int32_t *next = &b->plain_seq[pid][p->topic][p->partition];

    if (seq < *next)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    if (seq > *next)
        return RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    for (size_t i = 0; i < n; i++)
        broker_append(b, &p[i]);
    *next += (int32_t)n;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* The control record of a transaction: decides its records in this partition. */
static void write_marker(struct broker *b, const struct marker *m)
{
    const struct txn_log *t = &b->txns[m->txn];
    struct partition *p = &b->topics[m->topic].partitions[m->partition];
    struct record *r = append(b, m->topic, m->partition);

    r->kind = m->commit ? KIND_COMMIT : KIND_ABORT;
    r->pid = t->pid;
    r->epoch = m->epoch;
    for (int64_t o = p->lso; o < p->n - 1; o++)
        if (p->records[o].kind == KIND_DATA && p->records[o].pid == t->pid && p->records[o].fate == FATE_OPEN)
            p->records[o].fate = m->commit ? FATE_COMMITTED : FATE_ABORTED;
    settle(b, m->topic, m->partition);
}

/* Below the last stable offset: of each key the last value; of aborted records none. */
void broker_compact(struct broker *b)
{
    for (size_t t = 0; t < b->n_topics; t++)
        for (int i = 0; b->topics[t].compact && i < b->topics[t].n_partitions; i++) {
            struct partition *p = &b->topics[t].partitions[i];

            for (int64_t o = 0; o < p->lso; o++) {
                struct record *r = &p->records[o];

                if (r->kind != KIND_DATA)
                    continue;
                r->gone |= r->fate == FATE_ABORTED;
                for (int64_t later = o + 1; later < p->lso && !r->gone; later++)
                    r->gone = p->records[later].kind == KIND_DATA && p->records[later].fate == FATE_COMMITTED &&
                              view_eq(p->records[later].key, r->key);
            }
        }
}

/* ---- transactions ---- */

int broker_txn(const struct broker *b, const char *id)
{
    for (size_t i = 0; i < b->n_txns; i++)
        if (strcmp(b->txns[i].id, id) == 0)
            return (int)i;
    return -1;
}

static void plan_marker(struct broker *b, const struct marker *m)
{
    assert(b->n_markers < sizeof(b->markers) / sizeof(b->markers[0]));
    b->markers[b->n_markers++] = *m;
    b->txns[m->txn].n_markers++;
}

/* Decided: from now on nothing changes the outcome; readers see it partition by partition. */
static void prepare(struct broker *b, int txn, bool commit, int64_t spread_us)
{
    struct txn_log *t = &b->txns[txn];
    struct marker m = {.at_us = b->now_us + 300, .txn = txn, .epoch = t->epoch, .commit = commit};

    t->state = TXN_PREPARED;
    t->commit = commit;
    for (size_t g = 0; g < b->n_groups; g++)
        if (t->in_group[g]) {
            m.topic = -1;
            m.partition = (int)g;
            plan_marker(b, &m);
            m.at_us += spread_us;
        }
    for (size_t i = 0; i < b->n_topics; i++)
        for (int p = 0; p < b->topics[i].n_partitions; p++)
            if (t->in[i][p]) {
                m.topic = (int)i;
                m.partition = p;
                plan_marker(b, &m);
                m.at_us += spread_us;
            }
    memset(t->in, 0, sizeof(t->in));
    memset(t->in_group, 0, sizeof(t->in_group));
    if (t->n_markers == 0)
        t->state = TXN_COMPLETE;
}

void broker_time_out(struct broker *b, int txn)
{
    struct txn_log *t = &b->txns[txn];

    if (t->state != TXN_ONGOING)
        return;
    t->epoch++; /* fences the producer */
    prepare(b, txn, /* commit= */ false, 0);
}

void broker_tick(struct broker *b, int64_t now_us, int64_t *ret_next_us)
{
    b->now_us = now_us;
    if (now_us >= b->swept_us + b->sweep_us) {
        b->swept_us = now_us;
        for (size_t i = 0; i < b->n_txns; i++)
            if (b->txns[i].state == TXN_ONGOING && now_us - b->txns[i].began_us > b->txns[i].timeout_us)
                broker_time_out(b, (int)i);
    }
    group_expire(b);
    *ret_next_us = INT64_MAX;
    for (size_t i = 0; i < b->n_markers;) {
        struct marker m = b->markers[i];

        if (m.at_us > now_us) {
            *ret_next_us = m.at_us < *ret_next_us ? m.at_us : *ret_next_us;
            i++;
            continue;
        }
        memmove(&b->markers[i], &b->markers[i + 1], (--b->n_markers - i) * sizeof(m));
        if (m.topic < 0)
            group_marker(b, m.partition, m.txn, m.commit);
        else
            write_marker(b, &m);
        if (--b->txns[m.txn].n_markers == 0)
            b->txns[m.txn].state = TXN_COMPLETE;
    }
    if (now_us + 500000 < *ret_next_us)
        *ret_next_us = now_us + 500000;
}

bool broker_has_open(const struct broker *b)
{
    for (size_t i = 0; i < b->n_txns; i++)
        if (b->txns[i].state == TXN_ONGOING || b->txns[i].state == TXN_PREPARED)
            return true;
    return b->n_markers != 0;
}

rd_kafka_resp_err_t broker_init(struct broker *b, const char *id, int64_t timeout_us, int *ret_pid, int *ret_epoch)
{
    int i = broker_txn(b, id);
    struct txn_log *t;

    if (i < 0) {
        assert(b->n_txns < TXNS_MAX);
        i = (int)b->n_txns++;
        b->txns[i].pid = i;
        b->txns[i].epoch = -1;
        snprintf(b->txns[i].id, sizeof(b->txns[i].id), "%s", id);
    }
    t = &b->txns[i];
    if (t->state == TXN_PREPARED)
        return RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS;
    if (t->state == TXN_ONGOING) {
        broker_time_out(b, i); /* the same: epoch up, abort */
        return RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS;
    }
    t->epoch++;
    t->timeout_us = timeout_us;
    t->state = TXN_EMPTY;
    memset(t->next_seq, 0, sizeof(t->next_seq));
    *ret_pid = t->pid;
    *ret_epoch = t->epoch;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t check(const struct txn_log *t, int epoch)
{
    return t->epoch == epoch ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

static rd_kafka_resp_err_t enter(struct broker *b, struct txn_log *t, int epoch)
{
    if (check(t, epoch) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    if (t->state == TXN_PREPARED)
        return RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS;
    if (t->state != TXN_ONGOING) {
        t->state = TXN_ONGOING;
        t->began_us = b->now_us;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t broker_add_partition(struct broker *b, int pid, int epoch, int topic, int partition)
{
    rd_kafka_resp_err_t code = enter(b, &b->txns[pid], epoch);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        b->txns[pid].in[topic][partition] = true;
    return code;
}

rd_kafka_resp_err_t broker_add_offsets(struct broker *b, int pid, int epoch, int group)
{
    rd_kafka_resp_err_t code = enter(b, &b->txns[pid], epoch);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        b->txns[pid].in_group[group] = true;
    return code;
}

/* A batch for one partition. The leader asks the coordinator whether the transaction is on (KIP-890, its first part). */
rd_kafka_resp_err_t broker_produce(struct broker *b, int pid, int epoch, int32_t seq, const struct produced *p, size_t n)
{
    struct txn_log *t = &b->txns[pid];
    int32_t *next = &t->next_seq[p->topic][p->partition];

    if (check(t, epoch) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    if (seq < *next)
        return RD_KAFKA_RESP_ERR_NO_ERROR; /* a repetition: it is there */
    if (t->state != TXN_ONGOING || !t->in[p->topic][p->partition])
        return RD_KAFKA_RESP_ERR_INVALID_TXN_STATE;
    if (seq > *next)
        return RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    for (size_t i = 0; i < n; i++) {
        struct record *r = append(b, p->topic, p->partition);

        fill(r, &p[i]);
        r->pid = pid;
        r->epoch = epoch;
        r->fate = FATE_OPEN;
    }
    *next += (int32_t)n;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t broker_end(struct broker *b, int pid, int epoch, bool commit, int64_t spread_us)
{
    struct txn_log *t = &b->txns[pid];

    if (check(t, epoch) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    if (t->state == TXN_ONGOING) {
        prepare(b, pid, commit, spread_us);
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (t->state == TXN_EMPTY || t->commit != commit)
        return RD_KAFKA_RESP_ERR_INVALID_TXN_STATE;
    return t->state == TXN_PREPARED ? RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS : RD_KAFKA_RESP_ERR_NO_ERROR;
}
