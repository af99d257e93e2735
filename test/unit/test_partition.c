#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/kafka.h"

/* org.apache.kafka.common.utils.UtilsTest.testMurmur2; here through (h & 0x7fffffff) % n as Java's partitioner. */
static const struct {
    const char *key;
    int32_t hash;
} vectors[] = {
    {"21", -973932308},
    {"foobar", -790332482},
    {"a-little-bit-long-string", -985981536},
    {"a-little-bit-longer-string", -1486304829},
    {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    {"abc", 479470107},
};

static void keys_go_where_java_clients_put_them(void **state)
{
    static const int counts[] = {1, 2, 3, 4, 7, 16, 1000, INT32_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        for (size_t j = 0; j < ARRAY_LEN(counts); j++) {
            int want = (int)(((uint32_t)vectors[i].hash & 0x7fffffff) % (uint32_t)counts[j]);
            int got = kafka_partition(view_str(vectors[i].key), counts[j]);

            if (got != want)
                fail_msg("'%s' of %d: want %d, got %d", vectors[i].key, counts[j], want, got);
        }
}

static void an_empty_key_has_a_partition(void **state)
{
    (void)state;
    assert_int_equal(kafka_partition(view_of("", 0), 4), (275646681 & 0x7fffffff) % 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_where_java_clients_put_them),
        cmocka_unit_test(an_empty_key_has_a_partition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
