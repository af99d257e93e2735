/* test/sim/group.c: the group coordinator: classic protocol, eager, the assignor `range`, static members. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "test/sim/broker.h"
#include "test/sim/sim.h"

void group_forget(struct broker *b, int group)
{
    struct group *g = &b->groups[group];

    story("group %s is as new", g->name);
    g->n_members = 0;
    g->generation = 0;
    g->state = GROUP_EMPTY;
    memset(g->has_pending, 0, sizeof(g->has_pending));
    memset(g->undecided, 0, sizeof(g->undecided));
    for (int t = 0; t < TOPICS_MAX; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            g->committed.at[t][p].offset = -1;
}

void group_hold(struct broker *b, int group)
{
    struct group *g = &b->groups[group];

    story("group %s holds its offsets for undecided", g->name);
    for (int t = 0; t < TOPICS_MAX; t++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            g->undecided[t][p] = g->committed.at[t][p].offset >= 0;
}

int group_of(struct broker *b, const char *name)
{
    struct group *g;

    for (size_t i = 0; i < b->n_groups; i++)
        if (strcmp(b->groups[i].name, name) == 0)
            return (int)i;
    assert(b->n_groups < GROUPS_MAX);
    g = &b->groups[b->n_groups];
    snprintf(g->name, sizeof(g->name), "%s", name);
    group_forget(b, (int)b->n_groups);
    return (int)b->n_groups++;
}

static struct member *member_of(struct group *g, const char *instance)
{
    for (size_t i = 0; i < g->n_members; i++)
        if (strcmp(g->members[i].instance, instance) == 0)
            return &g->members[i];
    return NULL;
}

const struct member *group_member(struct broker *b, int group, const char *instance)
{
    return member_of(&b->groups[group], instance);
}

static int by_instance(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->instance, ((const struct member *)b)->instance);
}

/* `range`: of each topic a run of partitions for each member in the order of their names. */
static void assign(struct broker *b, struct group *g)
{
    qsort(g->members, g->n_members, sizeof(g->members[0]), by_instance);
    for (size_t m = 0; m < g->n_members; m++)
        memset(g->members[m].assigned, 0, sizeof(g->members[m].assigned));
    for (size_t t = 0; t < b->n_topics; t++) {
        int n = b->topics[t].n_partitions, k = (int)g->n_members, p = 0;

        for (int m = 0; m < k; m++)
            for (int i = 0; i < n / k + (m < n % k) && g->members[m].topics[t]; i++)
                g->members[m].assigned[t][p++] = true;
    }
}

/* A rebalance ends once all members have joined again (the dead ones leave when their sessions end). */
static void try_complete(struct broker *b, struct group *g)
{
    if (g->state != GROUP_PREPARING)
        return;
    for (size_t i = 0; i < g->n_members; i++)
        if (!g->members[i].joined)
            return;
    if (g->n_members == 0) {
        g->state = GROUP_EMPTY;
        return;
    }
    g->generation++;
    g->state = GROUP_STABLE;
    assign(b, g);
}

static void prepare(struct group *g)
{
    for (size_t i = 0; i < g->n_members && g->state != GROUP_PREPARING; i++)
        g->members[i].joined = false;
    g->state = GROUP_PREPARING;
}

static void remove_member(struct broker *b, struct group *g, struct member *m)
{
    *m = g->members[--g->n_members];
    prepare(g);
    try_complete(b, g);
}

void group_expire(struct broker *b)
{
    for (size_t i = 0; i < b->n_groups; i++)
        for (size_t m = 0; m < b->groups[i].n_members; m++)
            if (b->now_us - b->groups[i].members[m].heard_us > b->groups[i].members[m].session_us) {
                story("the session of %s is over", b->groups[i].members[m].instance);
                remove_member(b, &b->groups[i], &b->groups[i].members[m--]);
            }
}

void group_hear_all(struct broker *b)
{
    for (size_t i = 0; i < b->n_groups; i++)
        for (size_t m = 0; m < b->groups[i].n_members; m++)
            b->groups[i].members[m].heard_us = b->now_us;
}

void group_kick(struct broker *b, int group, const char *instance)
{
    struct member *m = member_of(&b->groups[group], instance);

    if (m)
        remove_member(b, &b->groups[group], m);
}

void group_ghost(struct broker *b, int group, const char *instance)
{
    struct group *g = &b->groups[group];
    struct member *m = member_of(g, instance);

    if (m == NULL)
        return;
    story("nobody stands for the group's %s", instance);
    m->id = ++g->next_id;
    m->since_us = m->heard_us = b->now_us;
}

rd_kafka_resp_err_t group_join(struct broker *b, int group, const char *instance, const bool *topics, int64_t session_us,
                               int *member_id)
{
    struct group *g = &b->groups[group];
    struct member *m = member_of(g, instance);

    if (m && *member_id != 0 && *member_id != m->id)
        return RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    if (m == NULL && *member_id != 0)
        return RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    if (m == NULL) {
        assert(g->n_members < MEMBERS_MAX);
        prepare(g);
        m = &g->members[g->n_members++];
        *m = (struct member){.id = ++g->next_id, .since_us = b->now_us, .session_us = session_us};
        snprintf(m->instance, sizeof(m->instance), "%s", instance);
        memcpy(m->topics, topics, sizeof(m->topics));
    } else if (*member_id == 0) {
        m->id = ++g->next_id; /* a static member is back: in a stable group nobody else notices, and its former self is fenced */
        m->since_us = b->now_us;
    }
    m->heard_us = b->now_us;
    m->joined = true;
    *member_id = m->id;
    try_complete(b, g);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t find(struct group *g, const char *instance, int member_id, struct member **ret)
{
    *ret = member_of(g, instance);
    if (*ret == NULL)
        return RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    return (*ret)->id == member_id ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

rd_kafka_resp_err_t group_sync(struct broker *b, int group, const char *instance, int member_id, int *ret_generation,
                               bool ret_assigned[TOPICS_MAX][PARTITIONS_MAX])
{
    struct group *g = &b->groups[group];
    struct member *m;
    rd_kafka_resp_err_t code = find(g, instance, member_id, &m);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    m->heard_us = b->now_us;
    if (g->state != GROUP_STABLE)
        return RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    *ret_generation = g->generation;
    memcpy(ret_assigned, m->assigned, sizeof(m->assigned));
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t group_heartbeat(struct broker *b, int group, const char *instance, int member_id, int generation)
{
    struct group *g = &b->groups[group];
    struct member *m;
    rd_kafka_resp_err_t code = find(g, instance, member_id, &m);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    m->heard_us = b->now_us;
    if (g->state == GROUP_PREPARING)
        return RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
    return generation == g->generation ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
}

/* ---- offsets ---- */

/* Without a generation and a name nothing is checked: such a commit lands unfenced. */
rd_kafka_resp_err_t group_txn_commit(struct broker *b, int group, int pid, int epoch, const char *instance, int member_id,
                                     int generation, const struct offsets *offsets)
{
    struct group *g = &b->groups[group];
    const struct txn_log *t = &b->txns[pid];
    struct member *m;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

    if (t->epoch != epoch)
        return RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
    if (t->state != TXN_ONGOING || !t->in_group[group])
        return RD_KAFKA_RESP_ERR_INVALID_TXN_STATE;
    if (generation >= 0)
        code = find(g, instance, member_id, &m);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && generation >= 0 && generation != g->generation)
        code = RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return code;
    for (size_t i = 0; i < TOPICS_MAX; i++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            if (offsets->at[i][p].offset >= 0 || !g->has_pending[pid])
                g->pending[pid].at[i][p] = offsets->at[i][p];
    g->has_pending[pid] = true;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

void group_marker(struct broker *b, int group, int txn, bool commit)
{
    struct group *g = &b->groups[group];

    for (size_t i = 0; i < b->n_topics && g->has_pending[txn]; i++)
        for (int p = 0; p < PARTITIONS_MAX; p++)
            if (g->pending[txn].at[i][p].offset >= 0) {
                g->undecided[i][p] = false;
                if (commit)
                    g->committed.at[i][p] = g->pending[txn].at[i][p];
            }
    g->has_pending[txn] = false;
}

rd_kafka_resp_err_t group_fetch(const struct broker *b, int group, int topic, int partition, bool stable, struct offset *ret)
{
    const struct group *g = &b->groups[group];

    for (size_t i = 0; i < b->n_txns && stable; i++)
        if (g->has_pending[i] && g->pending[i].at[topic][partition].offset >= 0)
            return RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT;
    if (stable && g->undecided[topic][partition])
        return RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT;
    *ret = g->committed.at[topic][partition];
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}
