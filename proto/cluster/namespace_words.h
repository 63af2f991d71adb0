/* The words of the cluster file, by the numbers that stand for them: to read it, and to print it.
 */
#ifndef FB_PROTO_CLUSTER_NAMESPACE_WORDS_H_
#define FB_PROTO_CLUSTER_NAMESPACE_WORDS_H_

/* enum fb_level of wire/request.h by number; "" = not a setting */
static const char *const durability_words[] = {"", "local", "replicated", "durable", "database"};
static const char *const reads_words[] = {"lease", "confirmed", "stale"};
static const char *const degraded_words[] = {"downgrade", "refuse"};
static const char *const external_words[] = {"none", "detect", "trigger", "logical"};
static const char *const row_gone_words[] = {"delete", "reinsert"};
static const char *const format_words[] = {"bytes", "json"};
static const char *const multi_words[] = {"strict", "relaxed"};
static const char *const safety_words[] = {"auto", "single", "sync", "lag"};

#endif
