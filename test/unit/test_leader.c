/* test/unit/test_leader.c: a partition that is there and that nobody leads for a moment, as where a broker has lost its controller. By librdkafka's
 * own cluster, for one real node cannot be made to lead nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "kafka/conf.h"
#include "kafka/kafka.h"

#include <librdkafka/rdkafka_mock.h> /* behind rdkafka.h */

#define TOPIC "t"
#define METADATA 3 /* the request's number in Kafka's protocol */
#define ASKED 3    /* so often in vain, then there is a leader */

/* The library's, of which Debian's header knows nothing yet. */
typedef struct rd_kafka_mock_request_s rd_kafka_mock_request_t;
void rd_kafka_mock_start_request_tracking(rd_kafka_mock_cluster_t *cluster);
void rd_kafka_mock_clear_requests(rd_kafka_mock_cluster_t *cluster);
rd_kafka_mock_request_t **rd_kafka_mock_get_requests(rd_kafka_mock_cluster_t *cluster, size_t *ret_n);
void rd_kafka_mock_request_destroy_array(rd_kafka_mock_request_t **all, size_t n);
int16_t rd_kafka_mock_request_api_key(rd_kafka_mock_request_t *request);

static rd_kafka_t *owner;
static rd_kafka_mock_cluster_t *cluster;

static size_t n_metadata(void)
{
    size_t n_all, n = 0;
    rd_kafka_mock_request_t **all = rd_kafka_mock_get_requests(cluster, &n_all);

    for (size_t i = 0; i < n_all; i++)
        n += rd_kafka_mock_request_api_key(all[i]) == METADATA;
    rd_kafka_mock_request_destroy_array(all, n_all);
    return n;
}

static void *elect(void *arg)
{
    (void)arg;
    while (n_metadata() < ASKED)
        sched_yield();
    rd_kafka_mock_partition_set_leader(cluster, TOPIC, 0, 1);
    return NULL;
}

/* Nobody leads the partition until it was asked for some times. */
static pthread_t without_leader(void)
{
    pthread_t thread;

    rd_kafka_mock_partition_set_leader(cluster, TOPIC, 0, -1);
    rd_kafka_mock_clear_requests(cluster);
    assert_int_equal(pthread_create(&thread, NULL, elect, NULL), 0);
    return thread;
}

static int begin(void **state)
{
    (void)state;
    owner = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    cluster = rd_kafka_mock_cluster_new(owner, 1);
    rd_kafka_mock_start_request_tracking(cluster);
    return rd_kafka_mock_topic_create(cluster, TOPIC, 1, 1) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static int end(void **state)
{
    (void)state;
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(owner);
    return 0;
}

static void bounds_are_asked_for_again(void **state)
{
    struct reader *r;
    struct error err;
    int64_t low, high;
    pthread_t thread;

    (void)state;
    assert_int_equal(reader_new(rd_kafka_mock_cluster_bootstraps(cluster), NULL, &r, &err), OK);
    thread = without_leader();
    if (reader_bounds(r, TOPIC, 0, &low, &high, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(low, 0);
    assert_int_equal(high, 0);
    pthread_join(thread, NULL);
    reader_free(r);
}

static void ends_are_asked_for_again(void **state)
{
    static const int partition = 0;
    rd_kafka_t *client;
    struct error err;
    int64_t high;
    pthread_t thread;

    (void)state;
    assert_int_equal(conf_asker(rd_kafka_mock_cluster_bootstraps(cluster), NULL, NULL, &client, &err), OK);
    thread = without_leader();
    if (conf_ends(client, rd_kafka_mock_cluster_bootstraps(cluster), TOPIC, &partition, 1, &high, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(high, 0);
    pthread_join(thread, NULL);
    rd_kafka_destroy(client);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_asked_for_again),
        cmocka_unit_test(ends_are_asked_for_again),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
