/* test/sim/client_producer.c: librdkafka's transactional producer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "test/sim/client.h"

/* ---- what an answer means for the transaction ---- */

static rd_kafka_error_t *fatal_error(rd_kafka_t *rk)
{
    return client_error(rk->fatal, true, false, false, "this instance has been fenced by a newer instance");
}

static rd_kafka_error_t *abortable_error(rd_kafka_t *rk)
{
    return client_error(rk->abortable, false, false, true, NULL);
}

static void doom(rd_kafka_t *rk, rd_kafka_resp_err_t code)
{
    if (rk->phase == PHASE_ABORTABLE || rk->phase == PHASE_FATAL)
        return;
    rk->phase = PHASE_ABORTABLE;
    rk->abortable = code;
}

static void set_fatal(rd_kafka_t *rk)
{
    rk->phase = PHASE_FATAL;
    rk->fatal = RD_KAFKA_RESP_ERR__FENCED;
}

/* NULL: it went well, or the state says what is wrong already. */
static rd_kafka_error_t *judge(rd_kafka_t *rk, rd_kafka_resp_err_t code)
{
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT)
        return client_error(code, false, true, false, NULL);
    if (code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH) {
        set_fatal(rk);
        return fatal_error(rk);
    }
    doom(rk, code);
    return abortable_error(rk);
}

static rd_kafka_error_t *refused(rd_kafka_t *rk)
{
    if (rk->phase == PHASE_FATAL)
        return fatal_error(rk);
    if (rk->phase == PHASE_ABORTABLE)
        return abortable_error(rk);
    return client_error(RD_KAFKA_RESP_ERR__STATE, false, false, false, NULL);
}

/* ---- begin and init ---- */

static rd_kafka_resp_err_t handle_init(struct broker *b, struct request *r)
{
    return broker_init(b, r->id, r->timeout_us, &r->ret_pid, &r->ret_epoch);
}

static rd_kafka_resp_err_t take_epoch(rd_kafka_t *rk, enum step step, int timeout_ms)
{
    struct request r = {.handle = handle_init, .id = xstrdup(rk->conf.txn_id),
                        .timeout_us = (int64_t)rk->conf.txn_timeout_ms * 1000};
    rd_kafka_resp_err_t code = client_rpc(rk, step, &r, timeout_ms);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rk->pid = r.ret_pid;
        rk->epoch = r.ret_epoch;
        memset(rk->seq, 0, sizeof(rk->seq));
        rk->bump = false;
        story("has epoch %d of %s", rk->epoch, rk->conf.txn_id);
    }
    return code;
}

rd_kafka_error_t *rd_kafka_init_transactions(rd_kafka_t *rk, int timeout_ms)
{
    rd_kafka_resp_err_t code = take_epoch(rk, STEP_INIT, timeout_ms);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return judge(rk, code);
    rk->phase = PHASE_READY;
    return NULL;
}

rd_kafka_error_t *rd_kafka_begin_transaction(rd_kafka_t *rk)
{
    if (rk->phase != PHASE_READY)
        return refused(rk);
    rk->phase = PHASE_IN;
    rk->asked = false;
    return NULL;
}

/* ---- records ---- */

static struct view copy(const void *p, size_t n)
{
    uint8_t *data;

    if (p == NULL)
        return view_of(NULL, 0);
    data = xmalloc(n + 1);
    memcpy(data, p, n);
    return view_of(data, n);
}

static void enqueue(rd_kafka_t *rk, struct sent s)
{
    if (rk->n_queue == rk->cap_queue) {
        rk->cap_queue = rk->cap_queue ? rk->cap_queue * 2 : 64;
        rk->queue = xrealloc(rk->queue, rk->cap_queue * sizeof(*rk->queue));
    }
    rk->queue[rk->n_queue++] = s;
}

rd_kafka_error_t *rd_kafka_produceva(rd_kafka_t *rk, const rd_kafka_vu_t *vu, size_t n)
{
    struct sent s = {0};
    int how;

    (void)step_begin(STEP_PUT, 10, &how);
    step_end(0);
    if (rk->phase != PHASE_IN && !rk->is_plain)
        return refused(rk);
    for (size_t i = 0; i < n; i++)
        switch (vu[i].vtype) {
        case RD_KAFKA_VTYPE_RKT:
            s.record.topic = vu[i].u.rkt->topic;
            break;
        case RD_KAFKA_VTYPE_PARTITION:
            s.record.partition = vu[i].u.i32;
            break;
        case RD_KAFKA_VTYPE_OPAQUE:
            s.opaque = vu[i].u.ptr;
            break;
        case RD_KAFKA_VTYPE_KEY:
            s.record.key = copy(vu[i].u.mem.ptr, vu[i].u.mem.size);
            break;
        case RD_KAFKA_VTYPE_VALUE:
            s.record.value = copy(vu[i].u.mem.ptr, vu[i].u.mem.size);
            break;
        case RD_KAFKA_VTYPE_HEADER:
            s.record.headers[s.record.n_headers++] =
                (struct header){xstrdup(vu[i].u.header.name), copy(vu[i].u.header.val, (size_t)vu[i].u.header.size)};
            break;
        default:
            break;
        }
    enqueue(rk, s);
    return NULL;
}

/* Half of a long run is taken, and of the rest it is said that the queue is full. */
int rd_kafka_produce_batch(rd_kafka_topic_t *t, int32_t partition, int flags, rd_kafka_message_t *m, int n)
{
    rd_kafka_t *rk = t->rk;
    int room = n > 8 ? n / 2 : n, how, i;

    (void)flags;
    for (i = 0; i < room; i++) {
        (void)step_begin(STEP_PUT, 10, &how);
        step_end(0);
        if (rk->phase != PHASE_IN)
            break;
        enqueue(rk, (struct sent){.opaque = m[i]._private, .record = {.topic = t->topic, .partition = partition,
                                  .key = copy(m[i].key, m[i].key_len), .value = copy(m[i].payload, m[i].len)}});
        m[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    for (int k = i; k < n; k++)
        m[k].err = rk->phase != PHASE_IN ? RD_KAFKA_RESP_ERR__STATE : RD_KAFKA_RESP_ERR__QUEUE_FULL;
    return i;
}

static rd_kafka_resp_err_t handle_plain(struct broker *b, struct request *r)
{
    return broker_produce_plain(b, r->pid, r->seq, r->records, r->n_records);
}

/* Adds the partition to the transaction, then appends a batch to it. */
static rd_kafka_resp_err_t handle_send(struct broker *b, struct request *r)
{
    int32_t seq = r->seq;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (size_t i = 0; i < r->n_records && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
        code = broker_add_partition(b, r->pid, r->epoch, r->records[i].topic, r->records[i].partition);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = broker_produce(b, r->pid, r->epoch, seq, r->records, r->n_records);
    return code;
}

static bool has_unsent(const rd_kafka_t *rk, int topic, int partition)
{
    for (size_t i = 0; i < rk->n_queue; i++)
        if (!rk->queue[i].is_sent && rk->queue[i].record.topic == topic && rk->queue[i].record.partition == partition)
            return true;
    return false;
}

/* The unsent records of one partition. */
static bool send_partition(rd_kafka_t *rk, int topic, int partition)
{
    struct produced *records;
    struct request r = {.handle = rk->is_plain ? handle_plain : handle_send, .pid = rk->pid, .epoch = rk->epoch, .seq = rk->seq[topic][partition]};
    rd_kafka_resp_err_t code;

    if (!has_unsent(rk, topic, partition))
        return true;
    r.records = records = xmalloc((rk->n_queue + 1) * sizeof(*records));
    for (size_t i = 0; i < rk->n_queue; i++) {
        struct sent *s = &rk->queue[i];

        if (!s->is_sent && s->record.topic == topic && s->record.partition == partition) {
            records[r.n_records++] = s->record;
            s->is_sent = true;
        }
    }
    do /* without transactions a record is never given up */
        code = client_rpc(rk, STEP_SEND, &r, 10000);
    while (rk->is_plain && code != RD_KAFKA_RESP_ERR_NO_ERROR);
    rk->asked |= code == RD_KAFKA_RESP_ERR_NO_ERROR;
    rk->seq[topic][partition] += (int32_t)r.n_records;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    rk->bump = true;
    for (size_t i = 0; i < rk->n_queue; i++)
        if (rk->queue[i].record.topic == topic && rk->queue[i].record.partition == partition)
            rk->queue[i].code = RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
    if (code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH)
        set_fatal(rk);
    else
        doom(rk, code);
    return false;
}

/* What librdkafka's thread does by itself. */
static void send_queue(rd_kafka_t *rk)
{
    size_t unsent = 0;

    while (unsent < rk->n_queue && rk->queue[unsent].is_sent)
        unsent++;
    for (int t = 0; t < (int)sim.broker->n_topics && unsent < rk->n_queue; t++)
        for (int p = 0; p < sim.broker->topics[t].n_partitions; p++)
            if ((rk->phase != PHASE_IN && !rk->is_plain) || !send_partition(rk, t, p))
                return;
}

static void report(rd_kafka_t *rk)
{
    size_t kept = 0;

    for (size_t i = 0; i < rk->n_queue; i++) {
        struct sent s = rk->queue[i];
        rd_kafka_message_t *m;

        if (!s.is_sent) {
            rk->queue[kept++] = s;
            continue;
        }
        m = client_message(s.record.topic, s.record.partition, -1, s.code, NULL);
        m->len = s.record.value.n;
        m->key_len = s.record.key.n;
        m->_private = s.opaque;
        rk->conf.delivery(rk, m, rk->conf.opaque);
        rd_kafka_message_destroy(m);
    }
    rk->n_queue = kept;
}

int rd_kafka_poll(rd_kafka_t *rk, int timeout_ms)
{
    (void)timeout_ms;
    if (!rk->is_producer)
        return 0;
    send_queue(rk);
    report(rk);
    client_serve(rk);
    return 0;
}

int rd_kafka_outq_len(rd_kafka_t *rk)
{
    return rk->phase == PHASE_IN || rk->is_plain ? (int)rk->n_queue : 0;
}

rd_kafka_resp_err_t rd_kafka_flush(rd_kafka_t *rk, int timeout_ms)
{
    (void)rd_kafka_poll(rk, timeout_ms);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t rd_kafka_purge(rd_kafka_t *rk, int flags)
{
    (void)flags;
    rk->n_queue = 0;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* ---- its end ---- */


static rd_kafka_resp_err_t handle_offsets(struct broker *b, struct request *r)
{
    rd_kafka_resp_err_t code = broker_add_offsets(b, r->pid, r->epoch, r->group);

    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = group_txn_commit(b, r->group, r->pid, r->epoch, r->id, r->member_id, r->generation, r->offsets);
    return code;
}

rd_kafka_error_t *rd_kafka_send_offsets_to_transaction(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list,
                                                       const rd_kafka_consumer_group_metadata_t *group, int timeout_ms)
{
    struct offsets *offsets = xcalloc(1, sizeof(*offsets));
    struct request r = {.handle = handle_offsets, .pid = rk->pid, .epoch = rk->epoch, .offsets = offsets};
    rd_kafka_resp_err_t code;
    enum { LATER, BEFORE, MEANWHILE } sent = (int)jitter_below(3); /* what waits in the queue: librdkafka's thread does it */

    if (rk->phase == PHASE_IN && sent == BEFORE)
        send_queue(rk);
    if (rk->phase != PHASE_IN)
        return refused(rk);
    for (int t = 0; t < TOPICS_MAX; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            offsets->at[t][p].offset = -1;
    for (int i = 0; i < list->cnt; i++) {
        struct offset *o = &offsets->at[broker_topic(sim.broker, list->elems[i].topic)][list->elems[i].partition];

        o->offset = list->elems[i].offset;
        memcpy(o->metadata, list->elems[i].metadata ? list->elems[i].metadata : "", list->elems[i].metadata_size);
        story("offset of %s/%d: %lld %s", list->elems[i].topic, list->elems[i].partition, (long long)o->offset, o->metadata);
    }
    client_member(group, &r);
    code = client_rpc(rk, STEP_OFFSETS, &r, timeout_ms);
    rk->asked |= code == RD_KAFKA_RESP_ERR_NO_ERROR;
    rk->bump |= code == RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (sent == MEANWHILE)
        send_queue(rk);
    if (sent == MEANWHILE && rk->phase != PHASE_IN) /* it says no more than that */
        return client_error(RD_KAFKA_RESP_ERR__STATE, false, false, false, NULL);
    return judge(rk, code);
}

static rd_kafka_resp_err_t handle_end(struct broker *b, struct request *r)
{
    return broker_end(b, r->pid, r->epoch, r->commit, r->spread_us);
}

static rd_kafka_resp_err_t end(rd_kafka_t *rk, bool commit, int timeout_ms)
{
    struct request r = {.handle = handle_end, .pid = rk->pid, .epoch = rk->epoch, .commit = commit};

    return client_rpc(rk, commit ? STEP_COMMIT : STEP_ABORT, &r, timeout_ms);
}

rd_kafka_error_t *rd_kafka_commit_transaction(rd_kafka_t *rk, int timeout_ms)
{
    rd_kafka_error_t *e = NULL;

    if (rk->phase == PHASE_IN) {
        send_queue(rk);
        report(rk);
    }
    if (rk->phase != PHASE_IN)
        return refused(rk);
    if (rk->asked)
        e = judge(rk, end(rk, /* commit= */ true, timeout_ms));
    if (e == NULL)
        rk->phase = PHASE_READY;
    story("commits: %s", e ? e->text : "ok");
    return e;
}

rd_kafka_error_t *rd_kafka_abort_transaction(rd_kafka_t *rk, int timeout_ms)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

    if (rk->phase == PHASE_FATAL)
        return fatal_error(rk);
    if (rk->phase != PHASE_IN && rk->phase != PHASE_ABORTABLE)
        return refused(rk);
    rk->n_queue = 0;
    rk->phase = PHASE_IN;
    if (rk->asked)
        code = end(rk, /* commit= */ false, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_INVALID_TXN_STATE && rk->bump)
        code = RD_KAFKA_RESP_ERR_NO_ERROR; /* nothing had come through */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && rk->bump)
        code = take_epoch(rk, STEP_ABORT, timeout_ms);
    story("aborts: %s", rd_kafka_err2str(code));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return judge(rk, code);
    rk->phase = PHASE_READY;
    return NULL;
}
