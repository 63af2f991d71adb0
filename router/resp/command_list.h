/* Rows of the command table: what Forebay serves, with the values of Redis 7.0 (COMMAND INFO, DOCS)
 * for what Redis has too. Only command.h includes this.
 */
#ifndef FB_ROUTER_RESP_COMMAND_LIST_H_
#define FB_ROUTER_RESP_COMMAND_LIST_H_

/* In the order in which Redis lists them. */
#define RESP_FLAG_LIST(X)                                                                          \
    X(WRITE, "write")                                                                              \
    X(READONLY, "readonly")                                                                        \
    X(DENYOOM, "denyoom")                                                                          \
    X(ADMIN, "admin")                                                                              \
    X(PUBSUB, "pubsub")                                                                            \
    X(NOSCRIPT, "noscript")                                                                        \
    X(BLOCKING, "blocking")                                                                        \
    X(LOADING, "loading")                                                                          \
    X(STALE, "stale")                                                                              \
    X(SKIP_MONITOR, "skip_monitor")                                                                \
    X(SKIP_SLOWLOG, "skip_slowlog")                                                                \
    X(ASKING, "asking")                                                                            \
    X(FAST, "fast")                                                                                \
    X(NO_AUTH, "no_auth")                                                                          \
    X(MAY_REPLICATE, "may_replicate")                                                              \
    X(SENTINEL, "sentinel")                                                                        \
    X(ONLY_SENTINEL, "only_sentinel")                                                              \
    X(NO_MANDATORY_KEYS, "no_mandatory_keys")                                                      \
    X(NO_ASYNC_LOADING, "no_async_loading")                                                        \
    X(NO_MULTI, "no_multi")                                                                        \
    X(MOVABLEKEYS, "movablekeys")                                                                  \
    X(ALLOW_BUSY, "allow_busy")                                                                    \
    X(MODULE, "module")

enum resp_flag_bit {
#define X(name, text) RESP_F_BIT_##name,
    RESP_FLAG_LIST(X)
#undef X
};
enum resp_command_flag {
#define X(name, text) RESP_F_##name = 1 << RESP_F_BIT_##name,
    RESP_FLAG_LIST(X)
#undef X
};

#define RESP_ACL_LIST(X)                                                                           \
    X(KEYSPACE, "keyspace")                                                                        \
    X(READ, "read")                                                                                \
    X(WRITE, "write")                                                                              \
    X(SET, "set")                                                                                  \
    X(SORTEDSET, "sortedset")                                                                      \
    X(LIST, "list")                                                                                \
    X(HASH, "hash")                                                                                \
    X(STRING, "string")                                                                            \
    X(BITMAP, "bitmap")                                                                            \
    X(HYPERLOGLOG, "hyperloglog")                                                                  \
    X(GEO, "geo")                                                                                  \
    X(STREAM, "stream")                                                                            \
    X(PUBSUB, "pubsub")                                                                            \
    X(ADMIN, "admin")                                                                              \
    X(FAST, "fast")                                                                                \
    X(SLOW, "slow")                                                                                \
    X(BLOCKING, "blocking")                                                                        \
    X(DANGEROUS, "dangerous")                                                                      \
    X(CONNECTION, "connection")                                                                    \
    X(TRANSACTION, "transaction")                                                                  \
    X(SCRIPTING, "scripting")

enum resp_acl_bit {
#define X(name, text) RESP_ACL_BIT_##name,
    RESP_ACL_LIST(X)
#undef X
};
enum resp_acl {
#define X(name, text) RESP_ACL_##name = 1 << RESP_ACL_BIT_##name,
    RESP_ACL_LIST(X)
#undef X
};

/* id, name, arity, first key, last key, step, flags, ACL categories, key flags, tips, group, since,
 * complexity, syntax, summary
 */
#define RESP_COMMAND_LIST(X)                                                                       \
    /* connection */                                                                               \
    X(HELLO, "hello", -1, 0, 0, 0,                                                                 \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_NO_AUTH |             \
          RESP_F_ALLOW_BUSY,                                                                       \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "connection", "6.0.0", "O(1)",                  \
      "[protover [AUTH username password] [SETNAME clientname]]", "Handshake with Redis")          \
    X(AUTH, "auth", -2, 0, 0, 0,                                                                   \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_NO_AUTH |             \
          RESP_F_ALLOW_BUSY,                                                                       \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "connection", "1.0.0",                          \
      "O(N) where N is the number of passwords defined for the user", "[username] password",       \
      "Authenticate to the server")                                                                \
    X(PING, "ping", -1, 0, 0, 0, RESP_F_FAST, RESP_ACL_FAST | RESP_ACL_CONNECTION, "",             \
      "request_policy:all_shards response_policy:all_succeeded", "connection", "1.0.0", "O(1)",    \
      "[message]", "Ping the server")                                                              \
    X(ECHO, "echo", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST,                       \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "connection", "1.0.0", "O(1)", "message",       \
      "Echo the given string")                                                                     \
    X(QUIT, "quit", -1, 0, 0, 0,                                                                   \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_NO_AUTH |             \
          RESP_F_ALLOW_BUSY,                                                                       \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "connection", "1.0.0", "O(1)", "",              \
      "Close the connection")                                                                      \
    X(RESET, "reset", 1, 0, 0, 0,                                                                  \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_NO_AUTH |             \
          RESP_F_ALLOW_BUSY,                                                                       \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "connection", "6.2.0", "O(1)", "",              \
      "Reset the connection")                                                                      \
    X(SELECT, "select", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST,                   \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "connection", "1.0.0", "O(1)", "index",         \
      "Change the selected database for the current connection")                                   \
    X(CLIENT, "client", -2, 0, 0, 0, 0, RESP_ACL_SLOW, "", "", "connection", "2.4.0",              \
      "Depends on subcommand.", "", "A container for client connection commands")                  \
    X(COMMAND, "command", -1, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,                              \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "nondeterministic_output_order", "server",          \
      "2.8.13", "O(N) where N is the total number of Redis commands", "",                          \
      "Get array of Redis command details")                                                        \
    X(INFO, "info", -1, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,                                    \
      RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "",                                                      \
      "nondeterministic_output request_policy:all_shards response_policy:special", "server",       \
      "1.0.0", "O(1)", "[section [section ...]]",                                                  \
      "Get information and statistics about the server")                                           \
    X(CONFIG, "config", -2, 0, 0, 0, 0, RESP_ACL_SLOW, "", "", "server", "2.0.0",                  \
      "Depends on subcommand.", "", "A container for server configuration commands")               \
    X(SLOWLOG, "slowlog", -2, 0, 0, 0, 0, RESP_ACL_SLOW, "", "", "server", "2.2.12",               \
      "Depends on subcommand.", "", "A container for slow log commands")                           \
    X(TIME, "time", 1, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST, RESP_ACL_FAST, "",    \
      "nondeterministic_output", "server", "2.6.0", "O(1)", "", "Return the current server time")  \
    /* string */                                                                                   \
    X(GET, "get", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                       \
      RESP_ACL_READ | RESP_ACL_STRING | RESP_ACL_FAST, "RO access", "", "string", "1.0.0", "O(1)", \
      "key", "Get the value of a key")                                                             \
    X(SET, "set", -3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM,                                      \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_SLOW, "RW access update variable_flags", "",     \
      "string", "1.0.0", "O(1)",                                                                   \
      "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT "           \
      "unix-time-milliseconds|KEEPTTL]",                                                           \
      "Set the string value of a key")                                                             \
    X(SETNX, "setnx", 3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                     \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "OW insert", "", "string", "1.0.0",        \
      "O(1)", "key value", "Set the value of a key, only if the key does not exist")               \
    X(SETEX, "setex", 4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM,                                   \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_SLOW, "OW update", "", "string", "2.0.0",        \
      "O(1)", "key seconds value", "Set the value and expiration of a key")                        \
    X(PSETEX, "psetex", 4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM,                                 \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_SLOW, "OW update", "", "string", "2.6.0",        \
      "O(1)", "key milliseconds value", "Set the value and expiration in milliseconds of a key")   \
    X(GETSET, "getset", 3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                   \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "1.0.0", \
      "O(1)", "key value", "Set the string value of a key and return its old value")               \
    X(GETDEL, "getdel", 2, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                    \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access delete", "", "string", "6.2.0", \
      "O(1)", "key", "Get the value of a key and delete the key")                                  \
    X(GETEX, "getex", -2, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                     \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "6.2.0", \
      "O(1)",                                                                                      \
      "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT "                               \
      "unix-time-milliseconds|PERSIST]",                                                           \
      "Get the value of a key and optionally set its expiration")                                  \
    X(MGET, "mget", -2, 1, -1, 1, RESP_F_READONLY | RESP_F_FAST,                                   \
      RESP_ACL_READ | RESP_ACL_STRING | RESP_ACL_FAST, "RO access", "request_policy:multi_shard",  \
      "string", "1.0.0", "O(N) where N is the number of keys to retrieve.", "key [key ...]",       \
      "Get the values of all the given keys")                                                      \
    X(MSET, "mset", -3, 1, -1, 2, RESP_F_WRITE | RESP_F_DENYOOM,                                   \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_SLOW, "OW update",                               \
      "request_policy:multi_shard response_policy:all_succeeded", "string", "1.0.1",               \
      "O(N) where N is the number of keys to set.", "key value [key value ...]",                   \
      "Set multiple keys to multiple values")                                                      \
    X(STRLEN, "strlen", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                 \
      RESP_ACL_READ | RESP_ACL_STRING | RESP_ACL_FAST, "RO", "", "string", "2.2.0", "O(1)", "key", \
      "Get the length of the value stored in a key")                                               \
    X(APPEND, "append", 3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                   \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW insert", "", "string", "2.0.0",        \
      "O(1). The amortized time complexity is O(1) assuming the appended value is small and "      \
      "the already present value is of any size, since the dynamic string library used by "        \
      "Redis will double the free space available on every reallocation.",                         \
      "key value", "Append a value to a key")                                                      \
    X(GETRANGE, "getrange", 4, 1, 1, 1, RESP_F_READONLY,                                           \
      RESP_ACL_READ | RESP_ACL_STRING | RESP_ACL_SLOW, "RO access", "", "string", "2.4.0",         \
      "O(N) where N is the length of the returned string. The complexity is ultimately "           \
      "determined by the returned length, but because creating a substring from an existing "      \
      "string is very cheap, it can be considered O(1) for small strings.",                        \
      "key start end", "Get a substring of the string stored at a key")                            \
    X(SUBSTR, "substr", 4, 1, 1, 1, RESP_F_READONLY,                                               \
      RESP_ACL_READ | RESP_ACL_STRING | RESP_ACL_SLOW, "RO access", "", "string", "1.0.0",         \
      "O(N) where N is the length of the returned string. The complexity is ultimately "           \
      "determined by the returned length, but because creating a substring from an existing "      \
      "string is very cheap, it can be considered O(1) for small strings.",                        \
      "key start end", "Get a substring of the string stored at a key")                            \
    X(SETRANGE, "setrange", 4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM,                             \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_SLOW, "RW update", "", "string", "2.2.0",        \
      "O(1), not counting the time taken to copy the new string in place. Usually, this "          \
      "string is very small so the amortized complexity is O(1). Otherwise, complexity is "        \
      "O(M) with M being the length of the value argument.",                                       \
      "key offset value", "Overwrite part of a string at key starting at the specified offset")    \
    X(INCR, "incr", 2, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                       \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "1.0.0", \
      "O(1)", "key", "Increment the integer value of a key by one")                                \
    X(DECR, "decr", 2, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                       \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "1.0.0", \
      "O(1)", "key", "Decrement the integer value of a key by one")                                \
    X(INCRBY, "incrby", 3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                   \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "1.0.0", \
      "O(1)", "key increment", "Increment the integer value of a key by the given amount")         \
    X(DECRBY, "decrby", 3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                   \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "1.0.0", \
      "O(1)", "key decrement", "Decrement the integer value of a key by the given number")         \
    X(INCRBYFLOAT, "incrbyfloat", 3, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,         \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW access update", "", "string", "2.6.0", \
      "O(1)", "key increment", "Increment the float value of a key by the given amount")           \
    /* hash */                                                                                     \
    X(HSET, "hset", -4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                      \
      RESP_ACL_WRITE | RESP_ACL_HASH | RESP_ACL_FAST, "RW update", "", "hash", "2.0.0",            \
      "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the "         \
      "command is called with multiple field/value pairs.",                                        \
      "key field value [field value ...]", "Set the string value of a hash field")                 \
    X(HSETNX, "hsetnx", 4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                   \
      RESP_ACL_WRITE | RESP_ACL_HASH | RESP_ACL_FAST, "RW insert", "", "hash", "2.0.0", "O(1)",    \
      "key field value", "Set the value of a hash field, only if the field does not exist")        \
    X(HGET, "hget", 3, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                     \
      RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_FAST, "RO access", "", "hash", "2.0.0", "O(1)",     \
      "key field", "Get the value of a hash field")                                                \
    X(HMGET, "hmget", -3, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                  \
      RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_FAST, "RO access", "", "hash", "2.0.0",             \
      "O(N) where N is the number of fields being requested.", "key field [field ...]",            \
      "Get the values of all the given hash fields")                                               \
    X(HMSET, "hmset", -4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                    \
      RESP_ACL_WRITE | RESP_ACL_HASH | RESP_ACL_FAST, "RW update", "", "hash", "2.0.0",            \
      "O(N) where N is the number of fields being set.", "key field value [field value ...]",      \
      "Set multiple hash fields to multiple values")                                               \
    X(HGETALL, "hgetall", 2, 1, 1, 1, RESP_F_READONLY,                                             \
      RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_SLOW, "RO access", "nondeterministic_output_order", \
      "hash", "2.0.0", "O(N) where N is the size of the hash.", "key",                             \
      "Get all the fields and values in a hash")                                                   \
    X(HDEL, "hdel", -3, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                       \
      RESP_ACL_WRITE | RESP_ACL_HASH | RESP_ACL_FAST, "RW delete", "", "hash", "2.0.0",            \
      "O(N) where N is the number of fields to be removed.", "key field [field ...]",              \
      "Delete one or more hash fields")                                                            \
    X(HEXISTS, "hexists", 3, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                               \
      RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_FAST, "RO", "", "hash", "2.0.0", "O(1)",            \
      "key field", "Determine if a hash field exists")                                             \
    X(HLEN, "hlen", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                     \
      RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_FAST, "RO", "", "hash", "2.0.0", "O(1)", "key",     \
      "Get the number of fields in a hash")                                                        \
    X(HKEYS, "hkeys", 2, 1, 1, 1, RESP_F_READONLY, RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_SLOW,  \
      "RO access", "nondeterministic_output_order", "hash", "2.0.0",                               \
      "O(N) where N is the size of the hash.", "key", "Get all the fields in a hash")              \
    X(HVALS, "hvals", 2, 1, 1, 1, RESP_F_READONLY, RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_SLOW,  \
      "RO access", "nondeterministic_output_order", "hash", "2.0.0",                               \
      "O(N) where N is the size of the hash.", "key", "Get all the values in a hash")              \
    X(HSTRLEN, "hstrlen", 3, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                               \
      RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_FAST, "RO", "", "hash", "3.2.0", "O(1)",            \
      "key field", "Get the length of the value of a hash field")                                  \
    X(HINCRBY, "hincrby", 4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,                 \
      RESP_ACL_WRITE | RESP_ACL_HASH | RESP_ACL_FAST, "RW access update", "", "hash", "2.0.0",     \
      "O(1)", "key field increment",                                                               \
      "Increment the integer value of a hash field by the given number")                           \
    X(HINCRBYFLOAT, "hincrbyfloat", 4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,       \
      RESP_ACL_WRITE | RESP_ACL_HASH | RESP_ACL_FAST, "RW access update", "", "hash", "2.6.0",     \
      "O(1)", "key field increment",                                                               \
      "Increment the float value of a hash field by the given amount")                             \
    X(HSCAN, "hscan", -3, 1, 1, 1, RESP_F_READONLY, RESP_ACL_READ | RESP_ACL_HASH | RESP_ACL_SLOW, \
      "RO access", "nondeterministic_output", "hash", "2.8.0",                                     \
      "O(1) for every call. O(N) for a complete iteration, including enough command calls "        \
      "for the cursor to return back to 0. N is the number of elements inside the collection..",   \
      "key cursor [MATCH pattern] [COUNT count]",                                                  \
      "Incrementally iterate hash fields and associated values")                                   \
    /* generic */                                                                                  \
    X(DEL, "del", -2, 1, -1, 1, RESP_F_WRITE, RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_SLOW,  \
      "RM delete", "request_policy:multi_shard response_policy:agg_sum", "generic", "1.0.0",       \
      "O(N) where N is the number of keys that will be removed. When a key to remove holds "       \
      "a value other than a string, the individual complexity for this key is O(M) where M "       \
      "is the number of elements in the list, set, sorted set or hash. Removing a single "         \
      "key that holds a string value is O(1).",                                                    \
      "key [key ...]", "Delete a key")                                                             \
    X(UNLINK, "unlink", -2, 1, -1, 1, RESP_F_WRITE | RESP_F_FAST,                                  \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RM delete",                             \
      "request_policy:multi_shard response_policy:agg_sum", "generic", "4.0.0",                    \
      "O(1) for each key removed regardless of its size. Then the command does O(N) work in "      \
      "a different thread in order to reclaim memory, where N is the number of allocations "       \
      "the deleted objects where composed of.",                                                    \
      "key [key ...]",                                                                             \
      "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non "       \
      "blocking.")                                                                                 \
    X(EXISTS, "exists", -2, 1, -1, 1, RESP_F_READONLY | RESP_F_FAST,                               \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO",                                     \
      "request_policy:multi_shard response_policy:agg_sum", "generic", "1.0.0",                    \
      "O(N) where N is the number of keys to check.", "key [key ...]",                             \
      "Determine if a key exists")                                                                 \
    X(TOUCH, "touch", -2, 1, -1, 1, RESP_F_READONLY | RESP_F_FAST,                                 \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO",                                     \
      "request_policy:multi_shard response_policy:agg_sum", "generic", "3.2.1",                    \
      "O(N) where N is the number of keys that will be touched.", "key [key ...]",                 \
      "Alters the last access time of a key(s). Returns the number of existing keys specified.")   \
    X(TYPE, "type", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                     \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO", "", "generic", "1.0.0", "O(1)",     \
      "key", "Determine the type stored at key")                                                   \
    X(EXPIRE, "expire", -3, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                   \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RW update", "", "generic", "1.0.0",     \
      "O(1)", "key seconds [NX|XX|GT|LT]", "Set a key's time to live in seconds")                  \
    X(PEXPIRE, "pexpire", -3, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                 \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RW update", "", "generic", "2.6.0",     \
      "O(1)", "key milliseconds [NX|XX|GT|LT]", "Set a key's time to live in milliseconds")        \
    X(EXPIREAT, "expireat", -3, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                               \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RW update", "", "generic", "1.2.0",     \
      "O(1)", "key unix-time-seconds [NX|XX|GT|LT]",                                               \
      "Set the expiration for a key as a UNIX timestamp")                                          \
    X(PEXPIREAT, "pexpireat", -3, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                             \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RW update", "", "generic", "2.6.0",     \
      "O(1)", "key unix-time-milliseconds [NX|XX|GT|LT]",                                          \
      "Set the expiration for a key as a UNIX timestamp specified in milliseconds")                \
    X(TTL, "ttl", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                       \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO access", "nondeterministic_output",   \
      "generic", "1.0.0", "O(1)", "key", "Get the time to live for a key in seconds")              \
    X(PTTL, "pttl", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                     \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO access", "nondeterministic_output",   \
      "generic", "2.6.0", "O(1)", "key", "Get the time to live for a key in milliseconds")         \
    X(EXPIRETIME, "expiretime", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                         \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO access", "", "generic", "7.0.0",      \
      "O(1)", "key", "Get the expiration Unix timestamp for a key")                                \
    X(PEXPIRETIME, "pexpiretime", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                       \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "RO access", "", "generic", "7.0.0",      \
      "O(1)", "key", "Get the expiration Unix timestamp for a key in milliseconds")                \
    X(PERSIST, "persist", 2, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                  \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RW update", "", "generic", "2.2.0",     \
      "O(1)", "key", "Remove the expiration from a key")                                           \
    X(SCAN, "scan", -2, 0, 0, 0, RESP_F_READONLY,                                                  \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_SLOW, "",                                       \
      "nondeterministic_output request_policy:special", "generic", "2.8.0",                        \
      "O(1) for every call. O(N) for a complete iteration, including enough command calls "        \
      "for the cursor to return back to 0. N is the number of elements inside the collection.",    \
      "cursor [MATCH pattern] [COUNT count] [TYPE type]", "Incrementally iterate the keys space")  \
    X(RANDOMKEY, "randomkey", 1, 0, 0, 0, RESP_F_READONLY,                                         \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_SLOW, "",                                       \
      "request_policy:all_shards nondeterministic_output", "generic", "1.0.0", "O(1)", "",         \
      "Return a random key from the keyspace")                                                     \
    X(DBSIZE, "dbsize", 1, 0, 0, 0, RESP_F_READONLY | RESP_F_FAST,                                 \
      RESP_ACL_KEYSPACE | RESP_ACL_READ | RESP_ACL_FAST, "",                                       \
      "request_policy:all_shards response_policy:agg_sum", "server", "1.0.0", "O(1)", "",          \
      "Return the number of keys in the selected database")                                        \
    X(FLUSHALL, "flushall", -1, 0, 0, 0, RESP_F_WRITE,                                             \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "",                 \
      "request_policy:all_shards response_policy:all_succeeded", "server", "1.0.0",                \
      "O(N) where N is the total number of keys in all databases", "[ASYNC|SYNC]",                 \
      "Remove all keys from all databases")                                                        \
    X(FLUSHDB, "flushdb", -1, 0, 0, 0, RESP_F_WRITE,                                               \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "",                 \
      "request_policy:all_shards response_policy:all_succeeded", "server", "1.0.0",                \
      "O(N) where N is the number of keys in the selected database", "[ASYNC|SYNC]",               \
      "Remove all keys from the current database")                                                 \
    /* durability */                                                                               \
    X(WAIT, "wait", 3, 0, 0, 0, RESP_F_NOSCRIPT, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",          \
      "request_policy:all_shards response_policy:agg_min", "generic", "3.0.0", "O(1)",             \
      "numreplicas timeout",                                                                       \
      "Wait for the synchronous replication of all the write commands sent in the context "        \
      "of the current connection")                                                                 \
    X(WAITAOF, "waitaof", 4, 0, 0, 0, RESP_F_NOSCRIPT, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "request_policy:all_shards response_policy:agg_min", "generic", "7.2.0", "O(1)",             \
      "numlocal numreplicas timeout",                                                              \
      "Wait for all the write commands sent in the context of the current connection to be on "    \
      "disk")                                                                                      \
    X(FB_SYNC, "fb.sync", -2, 1, 1, 1, RESP_F_WRITE,                                               \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_SLOW | RESP_ACL_BLOCKING, "RW update", "",     \
      "durability", "0.1.0", "O(1) plus one write to PostgreSQL", "key [milliseconds]",            \
      "Wait until the last change of a key is in PostgreSQL; replies with the version")            \
    X(FB_REQUIRE, "fb.require", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST,           \
      RESP_ACL_FAST | RESP_ACL_CONNECTION, "", "", "durability", "0.1.0", "O(1)",                  \
      "LOCAL|REPLICATED|DURABLE|DATABASE|NONE",                                                    \
      "Durability that writes of this connection must reach, else they are refused")               \
    /* versions */                                                                                 \
    X(FB_GET, "fb.get", 2, 1, 1, 1, RESP_F_READONLY | RESP_F_FAST,                                 \
      RESP_ACL_READ | RESP_ACL_KEYSPACE | RESP_ACL_FAST, "RO access", "", "versions", "0.1.0",     \
      "O(N) where N is the number of fields", "key",                                               \
      "Value, version, dirty flag and expiry of a key")                                            \
    X(FB_SETIF, "fb.setif", -4, 1, 1, 1, RESP_F_WRITE | RESP_F_DENYOOM | RESP_F_FAST,              \
      RESP_ACL_WRITE | RESP_ACL_STRING | RESP_ACL_FAST, "RW update", "", "versions", "0.1.0",      \
      "O(1)", "key version value [EX seconds|PX milliseconds]",                                    \
      "Set the string value of a key only when its version is the given one (0: absent)")          \
    X(FB_EVICT, "fb.evict", 2, 1, 1, 1, RESP_F_WRITE | RESP_F_FAST,                                \
      RESP_ACL_KEYSPACE | RESP_ACL_WRITE | RESP_ACL_FAST, "RW delete", "", "versions", "0.1.0",    \
      "O(1)", "key", "Drop the copy of a key in memory when PostgreSQL has it")                    \
    /* transactions */                                                                             \
    X(MULTI, "multi", 1, 0, 0, 0,                                                                  \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_ALLOW_BUSY,           \
      RESP_ACL_FAST | RESP_ACL_TRANSACTION, "", "", "transactions", "1.2.0", "O(1)", "",           \
      "Mark the start of a transaction block")                                                     \
    X(EXEC, "exec", 1, 0, 0, 0,                                                                    \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_SKIP_SLOWLOG,                       \
      RESP_ACL_SLOW | RESP_ACL_TRANSACTION, "", "", "transactions", "1.2.0",                       \
      "Depends on commands in the transaction", "", "Execute all commands issued after MULTI")     \
    X(DISCARD, "discard", 1, 0, 0, 0,                                                              \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_ALLOW_BUSY,           \
      RESP_ACL_FAST | RESP_ACL_TRANSACTION, "", "", "transactions", "2.0.0",                       \
      "O(N), when N is the number of queued commands", "",                                         \
      "Discard all commands issued after MULTI")                                                   \
    X(WATCH, "watch", -2, 1, -1, 1,                                                                \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_ALLOW_BUSY,           \
      RESP_ACL_FAST | RESP_ACL_TRANSACTION, "RO", "", "transactions", "2.2.0",                     \
      "O(1) for every key.", "key [key ...]",                                                      \
      "Watch the given keys to determine execution of the MULTI/EXEC block")                       \
    X(UNWATCH, "unwatch", 1, 0, 0, 0,                                                              \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE | RESP_F_FAST | RESP_F_ALLOW_BUSY,           \
      RESP_ACL_FAST | RESP_ACL_TRANSACTION, "", "", "transactions", "2.2.0", "O(1)", "",           \
      "Forget about all watched keys")

/* Like RESP_COMMAND_LIST, with the container's id in front. */
#define RESP_SUBCOMMAND_LIST(X)                                                                    \
    X(CLIENT, CLIENT_SETINFO, "client|setinfo", 4, 0, 0, 0,                                        \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "", "connection", "7.2.0", "O(1)", "LIB-NAME name|LIB-VER version",                          \
      "Set the name or version of the client library")                                             \
    X(CLIENT, CLIENT_SETNAME, "client|setname", 3, 0, 0, 0,                                        \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "", "connection", "2.6.9", "O(1)", "connection-name", "Set the current connection name")     \
    X(CLIENT, CLIENT_GETNAME, "client|getname", 2, 0, 0, 0,                                        \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "", "connection", "2.6.9", "O(1)", "", "Get the current connection name")                    \
    X(CLIENT, CLIENT_ID, "client|id", 2, 0, 0, 0, RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "", "connection", "5.0.0", "O(1)", "",              \
      "Returns the client ID for the current connection")                                          \
    X(CLIENT, CLIENT_INFO, "client|info", 2, 0, 0, 0,                                              \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "nondeterministic_output", "connection", "6.2.0", "O(1)", "",                                \
      "Returns information about the current client connection.")                                  \
    X(CLIENT, CLIENT_LIST, "client|list", -2, 0, 0, 0,                                             \
      RESP_F_ADMIN | RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE,                              \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS | RESP_ACL_CONNECTION, "",               \
      "nondeterministic_output", "connection", "2.4.0",                                            \
      "O(N) where N is the number of client connections",                                          \
      "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id [client-id ...]]",                        \
      "Get the list of client connections")                                                        \
    X(CLIENT, CLIENT_KILL, "client|kill", -3, 0, 0, 0,                                             \
      RESP_F_ADMIN | RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE,                              \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS | RESP_ACL_CONNECTION, "", "",           \
      "connection", "2.4.0", "O(N) where N is the number of client connections",                   \
      "ip:port|[ID client-id]|[TYPE NORMAL|MASTER|SLAVE|REPLICA|PUBSUB]|[USER "                    \
      "username]|[ADDR ip:port]|[LADDR ip:port]|[SKIPME yes/no] [[ID client-id]|[TYPE "            \
      "NORMAL|MASTER|SLAVE|REPLICA|PUBSUB]|[USER username]|[ADDR ip:port]|[LADDR "                 \
      "ip:port]|[SKIPME yes/no] ...]",                                                             \
      "Kill the connection of a client")                                                           \
    X(CLIENT, CLIENT_NO_EVICT, "client|no-evict", 3, 0, 0, 0,                                      \
      RESP_F_ADMIN | RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE,                              \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS | RESP_ACL_CONNECTION, "", "",           \
      "connection", "7.0.0", "O(1)", "ON|OFF",                                                     \
      "Set client eviction mode for the current connection")                                       \
    X(CLIENT, CLIENT_NO_TOUCH, "client|no-touch", 3, 0, 0, 0,                                      \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "", "connection", "7.2.0", "O(1)", "ON|OFF",                                                 \
      "Let reads of this connection not count as a use for eviction")                              \
    X(CLIENT, CLIENT_REPLY, "client|reply", 3, 0, 0, 0,                                            \
      RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE, RESP_ACL_SLOW | RESP_ACL_CONNECTION, "",    \
      "", "connection", "3.2.0", "O(1)", "ON|OFF|SKIP",                                            \
      "Instruct the server whether to reply to commands")                                          \
    X(CLIENT, CLIENT_HELP, "client|help", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,               \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "", "connection", "5.0.0", "O(1)", "",              \
      "Show helpful text about the different subcommands")                                         \
    X(COMMAND, COMMAND_COUNT, "command|count", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,          \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "", "server", "2.8.13", "O(1)", "",                 \
      "Get total number of Redis commands")                                                        \
    X(COMMAND, COMMAND_DOCS, "command|docs", -2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,           \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "nondeterministic_output_order", "server", "7.0.0", \
      "O(N) where N is the number of commands to look up", "[command-name [command-name ...]]",    \
      "Get array of specific Redis command documentation")                                         \
    X(COMMAND, COMMAND_INFO, "command|info", -2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,           \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "nondeterministic_output_order", "server",          \
      "2.8.13", "O(N) where N is the number of commands to look up",                               \
      "[command-name [command-name ...]]",                                                         \
      "Get array of specific Redis command details, or all when no argument is given.")            \
    X(COMMAND, COMMAND_LIST, "command|list", -2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,           \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "nondeterministic_output_order", "server", "7.0.0", \
      "O(N) where N is the total number of Redis commands",                                        \
      "[FILTERBY MODULE module-name|ACLCAT category|PATTERN pattern]",                             \
      "Get an array of Redis command names")                                                       \
    X(COMMAND, COMMAND_GETKEYS, "command|getkeys", -4, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,     \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "", "server", "2.8.13",                             \
      "O(N) where N is the number of arguments to the command", "",                                \
      "Extract keys given a full Redis command")                                                   \
    X(COMMAND, COMMAND_HELP, "command|help", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,            \
      RESP_ACL_SLOW | RESP_ACL_CONNECTION, "", "", "server", "5.0.0", "O(1)", "",                  \
      "Show helpful text about the different subcommands")                                         \
    X(CONFIG, CONFIG_GET, "config|get", -3, 0, 0, 0,                                               \
      RESP_F_ADMIN | RESP_F_NOSCRIPT | RESP_F_LOADING | RESP_F_STALE,                              \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "", "", "server", "2.0.0",              \
      "O(N) when N is the number of configuration parameters provided",                            \
      "parameter [parameter ...]", "Get the values of configuration parameters")                   \
    X(CONFIG, CONFIG_HELP, "config|help", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,               \
      RESP_ACL_SLOW, "", "", "server", "5.0.0", "O(1)", "",                                        \
      "Show helpful text about the different subcommands")                                         \
    X(SLOWLOG, SLOWLOG_GET, "slowlog|get", -2, 0, 0, 0,                                            \
      RESP_F_ADMIN | RESP_F_LOADING | RESP_F_STALE,                                                \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "",                                     \
      "request_policy:all_nodes nondeterministic_output", "server", "2.2.12",                      \
      "O(N) where N is the number of entries returned", "[count]", "Get the slow log's entries")   \
    X(SLOWLOG, SLOWLOG_LEN, "slowlog|len", 2, 0, 0, 0,                                             \
      RESP_F_ADMIN | RESP_F_LOADING | RESP_F_STALE,                                                \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "",                                     \
      "request_policy:all_nodes response_policy:agg_sum nondeterministic_output", "server",        \
      "2.2.12", "O(1)", "", "Get the slow log's length")                                           \
    X(SLOWLOG, SLOWLOG_RESET, "slowlog|reset", 2, 0, 0, 0,                                         \
      RESP_F_ADMIN | RESP_F_LOADING | RESP_F_STALE,                                                \
      RESP_ACL_ADMIN | RESP_ACL_SLOW | RESP_ACL_DANGEROUS, "",                                     \
      "request_policy:all_nodes response_policy:all_succeeded", "server", "2.2.12",                \
      "O(N) where N is the number of entries in the slowlog", "",                                  \
      "Clear all entries from the slow log")                                                       \
    X(SLOWLOG, SLOWLOG_HELP, "slowlog|help", 2, 0, 0, 0, RESP_F_LOADING | RESP_F_STALE,            \
      RESP_ACL_SLOW, "", "", "server", "6.2.0", "O(1)", "",                                        \
      "Show helpful text about the different subcommands")

#endif
