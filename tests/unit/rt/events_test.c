/* Goal: what is logged at info and above is kept in order, the newest of it, whatever the level of
 * stderr; repetitions are counted; the answer is JSON whatever the values are. */
#include "proto/base/log.h"
#include "proto/rt/events.h"
#include "tests/unit/cmocka.h"

#include <jansson.h>

static json_t *ask(uint64_t since)
{
    struct fb_buf text = {0};
    json_error_t err;
    json_t *o;
    fb_events_json(&text, since);
    o = json_loadb((const char *)text.p, text.n, 0, &err);
    if (o == NULL)
        fail_msg("%s in %.*s", err.text, (int)text.n, (const char *)text.p);
    fb_buf_fini(&text);
    return o;
}

static json_int_t number(json_t *o, const char *field)
{
    return json_integer_value(json_object_get(o, field));
}

static void kept(void **state)
{
    json_t *o, *list, *e;
    json_int_t first;
    (void)state;
    FB_LOG(DEBUG, "no event", FB_KU("n", 1));
    FB_LOG0(INFO, "one");
    FB_LOG(WARN, "two", FB_KS("text", "a \"b\"\n\xff"), FB_KU("n", UINT64_MAX >> 1), FB_KI("i", -3),
           FB_KD("d", 0.5), FB_KD("nan", 0.0 / 0.0), FB_KB("bytes", fb_bytes("x\0y", 3)));
    FB_LOG(WARN, "three", FB_KU("n", 1));
    FB_LOG(WARN, "three", FB_KU("n", 1));
    FB_LOG(WARN, "three", FB_KU("n", 2));
    o = ask(0);
    list = json_object_get(o, "events");
    assert_int_equal(json_array_size(list), 4);
    e = json_array_get(list, 1);
    assert_string_equal(json_string_value(json_object_get(e, "event")), "two");
    assert_string_equal(json_string_value(json_object_get(e, "level")), "warn");
    e = json_object_get(e, "fields");
    assert_string_equal(json_string_value(json_object_get(e, "text")), "a \"b\"\n?");
    assert_int_equal(number(e, "n"), INT64_MAX);
    assert_int_equal(number(e, "i"), -3);
    assert_true(json_is_null(json_object_get(e, "nan")));
    assert_string_equal(json_string_value(json_object_get(e, "bytes")), "x?y");
    assert_int_equal(number(json_array_get(list, 2), "times"), 2);
    first = number(json_array_get(list, 0), "seq");
    assert_int_equal(number(json_array_get(list, 3), "seq"), first + 3);
    assert_int_equal(number(o, "next"), first + 3);
    json_decref(o);
    o = ask((uint64_t)first + 2);
    assert_int_equal(json_array_size(json_object_get(o, "events")), 1);
    json_decref(o);
    o = ask((uint64_t)first + 100); /* of another life of the process */
    assert_int_equal(json_array_size(json_object_get(o, "events")), 0);
    json_decref(o);
}

/* More than there is room for, and fields longer than a slot. */
static void bounded(void **state)
{
    char text[1000];
    json_t *o, *list;
    (void)state;
    memset(text, '"', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (unsigned i = 0; i < FB_EVENTS_MAX + 100; i++)
        FB_LOG(INFO, "many", FB_KU("i", i), FB_KS("long", text), FB_KS("more", text),
               FB_KS("again", text), FB_KU("end", i));
    o = ask(0);
    list = json_object_get(o, "events");
    assert_int_equal(json_array_size(list), FB_EVENTS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *f = json_object_get(json_array_get(list, i), "fields");
        assert_int_equal(number(f, "i"), i + 100);
        assert_int_equal(number(f, "end"),
                         i + 100); /* what fits is there, what does not is left out */
        assert_null(json_object_get(f, "again"));
    }
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(kept), cmocka_unit_test(bounded)};
    fb_log_setup(FB_LOG_ERROR, FB_LOG_LOGFMT, "events_test", NULL);
    fb_events_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
