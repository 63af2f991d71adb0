/* Goal: a key's slot is Redis Cluster's.
 *
 * Method: values of the specification's check word, of CLUSTER KEYSLOT, and the rules of hash tags.
 */
#include "proto/cluster/slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static uint16_t slot(const char *key)
{
    return fb_key_slot(fb_bytes_str(key));
}

static void known(void **state)
{
    (void)state;
    assert_int_equal(slot("123456789"), 0x31c3); /* the check value of CRC16/XMODEM */
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("bar"), 5061);
    assert_int_equal(slot(""), 0);
}

static void tags(void **state)
{
    (void)state;
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("{user1000}.followers"), slot("user1000"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_not_equal(slot("foo{}{bar}"), slot("bar")); /* an empty tag is no tag */
    assert_int_not_equal(slot("foo{bar"), slot("bar"));
}

static void partitions(void **state)
{
    (void)state;
    assert_int_equal(fb_slot_partition(0, 256), 0);
    assert_int_equal(fb_slot_partition(63, 256), 0);
    assert_int_equal(fb_slot_partition(64, 256), 1);
    assert_int_equal(fb_slot_partition(16383, 256), 255);
    assert_int_equal(fb_slot_partition(16383, 4096), 4095);
    assert_int_equal(fb_slot_partition(16383, 1), 0);
    assert_int_equal(fb_slot_partition(16383, 3), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known),
        cmocka_unit_test(tags),
        cmocka_unit_test(partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
