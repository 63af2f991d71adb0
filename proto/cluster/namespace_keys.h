/* The keys of the cluster file, in the order in which they are printed. Private to proto/cluster.
 */
#ifndef FB_PROTO_CLUSTER_NAMESPACE_KEYS_H_
#define FB_PROTO_CLUSTER_NAMESPACE_KEYS_H_

/* name, "needs table = ..." */
#define FB_NS_KEY_LIST(X)                                                                          \
    X(table, false)                                                                                \
    X(key, true)                                                                                   \
    X(value, false)                                                                                \
    X(format, false)                                                                               \
    X(sync_interval, false)                                                                        \
    X(max_batch, false)                                                                            \
    X(ttl, false)                                                                                  \
    X(negative_ttl, false)                                                                         \
    X(durability, false)                                                                           \
    X(reads, false)                                                                                \
    X(on_degraded, false)                                                                          \
    X(conflict, false)                                                                             \
    X(external, false)                                                                             \
    X(on_row_gone, true)                                                                           \
    X(fk_wait, true)                                                                               \
    X(expires_column, true)                                                                        \
    X(on_delete, false)                                                                            \
    X(max_value, false)                                                                            \
    X(max_dirty_bytes, false)                                                                      \
    X(max_dirty_age, false)                                                                        \
    X(blind_writes, true)                                                                          \
    X(read_only, false)

enum fb_ns_key {
#define X(name, mapped) FB_NS_##name,
    FB_NS_KEY_LIST(X)
#undef X
        FB_NS_KEY_COUNT
};

#endif
