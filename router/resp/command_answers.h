/* What each command answers with, and where that is not what Redis 7.0 does: for the documents.
 * Only command_docs.c includes this; it fails to compile when a command has no row. A type: ok,
 * simple (string), integer, bulk (string), verbatim (string), array, map, null, null array.
 */
#ifndef FB_ROUTER_RESP_COMMAND_ANSWERS_H_
#define FB_ROUTER_RESP_COMMAND_ANSWERS_H_

#define RESP_SPREAD "keys of several partitions: not atomic across them"
#define RESP_RESIDENT "sees what is in memory"
#define RESP_ROWS "rows of a table: only where the mapping allows it"
#define RESP_NO_EXPIRY "rows of a table do not expire: refused"

/* X(id, types, "" or what differs) */
#define RESP_ANSWER_LIST(X)                                                                        \
    X(HELLO, "map", "")                                                                            \
    X(AUTH, "ok", "one user, `default`")                                                           \
    X(PING, "simple, bulk", "")                                                                    \
    X(ECHO, "bulk", "")                                                                            \
    X(QUIT, "ok", "")                                                                              \
    X(RESET, "simple", "")                                                                         \
    X(SELECT, "ok", "database 0 alone")                                                            \
    X(CLIENT, "-", "")                                                                             \
    X(CLIENT_SETINFO, "ok", "as Redis 7.2")                                                        \
    X(CLIENT_SETNAME, "ok", "")                                                                    \
    X(CLIENT_GETNAME, "bulk, null", "")                                                            \
    X(CLIENT_ID, "integer", "")                                                                    \
    X(CLIENT_INFO, "verbatim", "this router's; fewer fields")                                      \
    X(CLIENT_LIST, "verbatim", "this router's; fewer fields")                                      \
    X(CLIENT_KILL, "ok, integer", "this router's clients")                                         \
    X(CLIENT_NO_EVICT, "ok", "no effect")                                                          \
    X(CLIENT_NO_TOUCH, "ok", "as Redis 7.2")                                                       \
    X(CLIENT_REPLY, "ok", "not within MULTI")                                                      \
    X(CLIENT_HELP, "array", "")                                                                    \
    X(COMMAND, "array", "what is served here")                                                     \
    X(COMMAND_COUNT, "integer", "what is served here")                                             \
    X(COMMAND_DOCS, "map", "without `arguments` and `history`")                                    \
    X(COMMAND_INFO, "array", "")                                                                   \
    X(COMMAND_LIST, "array", "what is served here")                                                \
    X(COMMAND_GETKEYS, "array", "")                                                                \
    X(COMMAND_HELP, "array", "")                                                                   \
    X(INFO, "verbatim", "this router's; other fields")                                             \
    X(TIME, "array", "in milliseconds")                                                            \
    X(DBSIZE, "integer", RESP_RESIDENT)                                                            \
    X(FLUSHALL, "ok", "drops clean copies, deletes nothing")                                       \
    X(FLUSHDB, "ok", "drops clean copies, deletes nothing")                                        \
    X(CONFIG, "-", "")                                                                             \
    X(CONFIG_GET, "map", "a few parameters that clients ask for")                                  \
    X(SLOWLOG, "-", "")                                                                            \
    X(SLOWLOG_GET, "array",                                                                        \
      "this router's; the key as a hash unless `slow_request_keys`, no other argument")            \
    X(SLOWLOG_LEN, "integer", "this router's")                                                     \
    X(SLOWLOG_RESET, "ok", "this router's")                                                        \
    X(SLOWLOG_HELP, "array", "")                                                                   \
    X(CONFIG_HELP, "array", "")                                                                    \
    X(GET, "bulk, null", "")                                                                       \
    X(SET, "ok, bulk, null", "")                                                                   \
    X(SETNX, "integer", "")                                                                        \
    X(SETEX, "ok", RESP_NO_EXPIRY)                                                                 \
    X(PSETEX, "ok", RESP_NO_EXPIRY)                                                                \
    X(GETSET, "bulk, null", "")                                                                    \
    X(GETDEL, "bulk, null", RESP_ROWS)                                                             \
    X(GETEX, "bulk, null", RESP_NO_EXPIRY)                                                         \
    X(MGET, "array", RESP_SPREAD)                                                                  \
    X(MSET, "ok", RESP_SPREAD)                                                                     \
    X(STRLEN, "integer", "")                                                                       \
    X(APPEND, "integer", "")                                                                       \
    X(GETRANGE, "bulk", "")                                                                        \
    X(SUBSTR, "bulk", "")                                                                          \
    X(SETRANGE, "integer", "up to 8 MiB, not 512")                                                 \
    X(INCR, "integer", "")                                                                         \
    X(DECR, "integer", "")                                                                         \
    X(INCRBY, "integer", "")                                                                       \
    X(DECRBY, "integer", "")                                                                       \
    X(INCRBYFLOAT, "bulk", "")                                                                     \
    X(HSET, "integer", "")                                                                         \
    X(HSETNX, "integer", "")                                                                       \
    X(HGET, "bulk, null", "")                                                                      \
    X(HMGET, "array", "")                                                                          \
    X(HMSET, "ok", "")                                                                             \
    X(HGETALL, "map", "")                                                                          \
    X(HDEL, "integer", "")                                                                         \
    X(HEXISTS, "integer", "")                                                                      \
    X(HLEN, "integer", "")                                                                         \
    X(HKEYS, "array", "")                                                                          \
    X(HVALS, "array", "")                                                                          \
    X(HSTRLEN, "integer", "")                                                                      \
    X(HINCRBY, "integer", "")                                                                      \
    X(HINCRBYFLOAT, "bulk", "")                                                                    \
    X(HSCAN, "array", "the whole hash at once")                                                    \
    X(DEL, "integer", RESP_SPREAD "; " RESP_ROWS)                                                  \
    X(UNLINK, "integer", "the same as DEL")                                                        \
    X(EXISTS, "integer", RESP_SPREAD)                                                              \
    X(TOUCH, "integer", RESP_SPREAD)                                                               \
    X(TYPE, "simple", "")                                                                          \
    X(EXPIRE, "integer", RESP_NO_EXPIRY)                                                           \
    X(PEXPIRE, "integer", RESP_NO_EXPIRY)                                                          \
    X(EXPIREAT, "integer", RESP_NO_EXPIRY)                                                         \
    X(PEXPIREAT, "integer", RESP_NO_EXPIRY)                                                        \
    X(TTL, "integer", "")                                                                          \
    X(PTTL, "integer", "")                                                                         \
    X(EXPIRETIME, "integer", "")                                                                   \
    X(PEXPIRETIME, "integer", "")                                                                  \
    X(PERSIST, "integer", "")                                                                      \
    X(SCAN, "array", RESP_RESIDENT)                                                                \
    X(RANDOMKEY, "bulk, null", RESP_RESIDENT)                                                      \
    X(WAIT, "integer",                                                                             \
      "the fewest of all partitions written to; what is under way is awaited even for 0 copies;"   \
      " 0 in MULTI")                                                                               \
    X(WAITAOF, "array", "as WAIT; on disk is after an fsync of the log")                           \
    X(FB_SYNC, "integer, null", "")                                                                \
    X(FB_REQUIRE, "ok", "")                                                                        \
    X(FB_GET, "array", "")                                                                         \
    X(FB_SETIF, "integer, null", "")                                                               \
    X(FB_EVICT, "integer", "")                                                                     \
    X(MULTI, "ok", "")                                                                             \
    X(EXEC, "array, null array", "keys of one partition, else `-CROSSSLOT`")                       \
    X(DISCARD, "ok", "")                                                                           \
    X(WATCH, "ok", "compares versions")                                                            \
    X(UNWATCH, "ok", "")

#endif
