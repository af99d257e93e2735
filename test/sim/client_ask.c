/* test/sim/client_ask.c: what librdkafka asks the broker without changing it: metadata, bounds, groups, configurations. */
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "test/sim/client.h"

#define ASKED_BEHIND_MAX 20

static rd_kafka_resp_err_t handle_nothing(struct broker *b, struct request *r)
{
    (void)b, (void)r;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t ask(rd_kafka_t *rk, enum step step, int timeout_ms)
{
    struct request r = {.handle = handle_nothing, .question = true};

    return client_rpc(rk, step, &r, timeout_ms);
}

/* Of a partition's leader, as the client knows it. */
static rd_kafka_resp_err_t ask_leader(rd_kafka_t *rk, enum step step, int timeout_ms)
{
    struct request r = {.handle = handle_nothing, .question = true, .of_leader = true};
    rd_kafka_resp_err_t code = client_rpc(rk, step, &r, timeout_ms);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR || !rk->is_behind)
        return code;
    if (++rk->n_asked_behind > ASKED_BEHIND_MAX)
        fail("%d times the same was asked of one that leads no more", rk->n_asked_behind);
    return RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
}

rd_kafka_resp_err_t rd_kafka_metadata(rd_kafka_t *rk, int all, rd_kafka_topic_t *only, const struct rd_kafka_metadata **ret,
                                      int timeout_ms)
{
    struct rd_kafka_metadata *m;
    rd_kafka_resp_err_t code = ask(rk, STEP_ASK, timeout_ms);

    (void)all;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    rk->is_behind = false;
    rk->n_asked_behind = 0;
    m = xcalloc(1, sizeof(*m) + sizeof(*m->topics));
    m->topics = (struct rd_kafka_metadata_topic *)(m + 1);
    if (only) {
        m->topic_cnt = 1;
        m->topics[0].topic = only->name;
        m->topics[0].partition_cnt = only->topic < 0 ? 0 : sim.broker->topics[only->topic].n_partitions;
        m->topics[0].err = only->topic < 0 ? RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART : RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    *ret = m;
    return code;
}

void rd_kafka_metadata_destroy(const struct rd_kafka_metadata *m)
{
    union {
        const struct rd_kafka_metadata *in;
        void *out;
    } u = {.in = m};

    free(u.out);
}

rd_kafka_resp_err_t rd_kafka_query_watermark_offsets(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low,
                                                     int64_t *high, int timeout_ms)
{
    int t = broker_topic(sim.broker, topic);
    rd_kafka_resp_err_t code = ask_leader(rk, STEP_ASK, timeout_ms);
    const struct partition *p = &sim.broker->topics[t].partitions[partition];

    *low = 0;
    *high = rk->conf.committed_only ? p->lso : p->n; /* ListOffsets with the consumer's isolation level */
    return code;
}

rd_kafka_resp_err_t rd_kafka_get_watermark_offsets(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t *low,
                                                   int64_t *high)
{
    int t = broker_topic(sim.broker, topic);

    (void)rk;
    *low = 0;
    *high = sim.broker->topics[t].partitions[partition].n;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t rd_kafka_offsets_for_times(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms)
{
    (void)list;
    return ask_leader(rk, STEP_ASK, timeout_ms);
}

/* ---- admin requests: their results come as events ---- */

struct rd_kafka_op_s {
    rd_kafka_resp_err_t code;
    rd_kafka_topic_partition_list_t *ends;
};

struct rd_kafka_ListOffsetsResultInfo_s {
    rd_kafka_topic_partition_t tp;
};

typedef rd_kafka_event_t rd_kafka_ListOffsets_result_t;
typedef struct rd_kafka_ListOffsetsResultInfo_s rd_kafka_ListOffsetsResultInfo_t;
void rd_kafka_ListOffsets(rd_kafka_t *, rd_kafka_topic_partition_list_t *, const rd_kafka_AdminOptions_t *, rd_kafka_queue_t *);
const rd_kafka_ListOffsets_result_t *rd_kafka_event_ListOffsets_result(rd_kafka_event_t *);
const rd_kafka_ListOffsetsResultInfo_t **rd_kafka_ListOffsets_result_infos(const rd_kafka_ListOffsets_result_t *, size_t *);
const rd_kafka_topic_partition_t *rd_kafka_ListOffsetsResultInfo_topic_partition(const rd_kafka_ListOffsetsResultInfo_t *);

rd_kafka_queue_t *rd_kafka_queue_new(rd_kafka_t *rk)
{
    rd_kafka_queue_t *q = xcalloc(1, sizeof(*q));

    q->rk = rk;
    return q;
}

void rd_kafka_queue_destroy(rd_kafka_queue_t *q)
{
    free(q);
}

rd_kafka_queue_t *rd_kafka_queue_get_consumer(rd_kafka_t *rk)
{
    return rd_kafka_queue_new(rk);
}

rd_kafka_AdminOptions_t *rd_kafka_AdminOptions_new(rd_kafka_t *rk, rd_kafka_admin_op_t op)
{
    (void)rk, (void)op;
    return xcalloc(1, 1);
}

void rd_kafka_AdminOptions_destroy(rd_kafka_AdminOptions_t *o)
{
    free(o);
}

rd_kafka_resp_err_t rd_kafka_AdminOptions_set_request_timeout(rd_kafka_AdminOptions_t *o, int ms, char *text, size_t n)
{
    (void)o, (void)ms, (void)text, (void)n;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* read_uncommitted, which is the default: the high watermark. */
void rd_kafka_ListOffsets(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, const rd_kafka_AdminOptions_t *o,
                          rd_kafka_queue_t *q)
{
    struct rd_kafka_op_s *e = xcalloc(1, sizeof(*e));

    (void)o;
    e->code = ask_leader(rk, STEP_ENDS, 10000);
    e->ends = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        int t = broker_topic(sim.broker, list->elems[i].topic);

        rd_kafka_topic_partition_list_add(e->ends, list->elems[i].topic, list->elems[i].partition)->offset =
            sim.broker->topics[t].partitions[list->elems[i].partition].n;
    }
    q->event = e;
}

/* ---- groups ---- */

/* As a broker makes them. */
static char *member_id(const char *instance, int id)
{
    char text[160];

    snprintf(text, sizeof(text), "%s-%036d", instance, id);
    return xstrdup(text);
}

struct listed {
    struct rd_kafka_group_list list;
    struct rd_kafka_group_info group;
    struct rd_kafka_group_member_info members[MEMBERS_MAX];
};

rd_kafka_resp_err_t rd_kafka_list_groups(rd_kafka_t *rk, const char *group, const struct rd_kafka_group_list **ret, int timeout_ms)
{
    rd_kafka_resp_err_t code = ask(rk, STEP_ASK, timeout_ms);
    const struct group *g;
    struct listed *l;

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    rk->owner->looked_us = sim.now_us;
    g = &sim.broker->groups[group_of(sim.broker, group)];
    l = xcalloc(1, sizeof(*l));
    l->list = (struct rd_kafka_group_list){.groups = &l->group, .group_cnt = 1};
    l->group.members = l->members;
    for (size_t i = 0; i < g->n_members; i++)
        l->members[l->group.member_cnt++].member_id = member_id(g->members[i].instance, g->members[i].id);
    *ret = &l->list;
    return code;
}

void rd_kafka_group_list_destroy(const struct rd_kafka_group_list *list)
{
    union {
        const struct rd_kafka_group_list *in;
        struct listed *out; /* begins with it */
    } l = {.in = list};

    for (int i = 0; i < l.out->group.member_cnt; i++)
        free(l.out->members[i].member_id);
    free(l.out);
}

char *rd_kafka_memberid(const rd_kafka_t *rk)
{
    return rk->member_id ? member_id(rk->conf.instance, rk->member_id) : NULL;
}

void rd_kafka_DescribeConfigs(rd_kafka_t *rk, rd_kafka_ConfigResource_t **configs, size_t n, const rd_kafka_AdminOptions_t *o,
                              rd_kafka_queue_t *q)
{
    struct rd_kafka_op_s *e = xcalloc(1, sizeof(*e));

    (void)configs, (void)n, (void)o;
    e->code = ask(rk, STEP_ASK, 10000);
    q->event = e;
}

rd_kafka_event_t *rd_kafka_queue_poll(rd_kafka_queue_t *q, int timeout_ms)
{
    rd_kafka_event_t *e = q->event;

    (void)timeout_ms;
    q->event = NULL;
    return e;
}

void rd_kafka_event_destroy(rd_kafka_event_t *e)
{
    if (e->ends)
        rd_kafka_topic_partition_list_destroy(e->ends);
    free(e);
}

rd_kafka_resp_err_t rd_kafka_event_error(rd_kafka_event_t *e)
{
    return e->code;
}

const rd_kafka_ListOffsets_result_t *rd_kafka_event_ListOffsets_result(rd_kafka_event_t *e)
{
    return e;
}

const rd_kafka_ListOffsetsResultInfo_t **rd_kafka_ListOffsets_result_infos(const rd_kafka_ListOffsets_result_t *e, size_t *n)
{
    static const rd_kafka_ListOffsetsResultInfo_t *infos[64];

    *n = (size_t)e->ends->cnt;
    for (size_t i = 0; i < *n && i < 64; i++)
        infos[i] = (const rd_kafka_ListOffsetsResultInfo_t *)&e->ends->elems[i];
    return infos;
}

const rd_kafka_topic_partition_t *rd_kafka_ListOffsetsResultInfo_topic_partition(const rd_kafka_ListOffsetsResultInfo_t *i)
{
    return &i->tp;
}

/* Nothing is refused here: topics are as they should be. */
const rd_kafka_DescribeConfigs_result_t *rd_kafka_event_DescribeConfigs_result(rd_kafka_event_t *e)
{
    return e;
}

const rd_kafka_ConfigResource_t **rd_kafka_DescribeConfigs_result_resources(const rd_kafka_DescribeConfigs_result_t *e,
                                                                            size_t *n)
{
    (void)e;
    *n = 0;
    return NULL;
}

rd_kafka_ConfigResource_t *rd_kafka_ConfigResource_new(rd_kafka_ResourceType_t type, const char *name)
{
    (void)type, (void)name;
    return NULL;
}

void rd_kafka_ConfigResource_destroy_array(rd_kafka_ConfigResource_t **c, size_t n)
{
    (void)c, (void)n;
}
