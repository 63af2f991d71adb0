/* Every limit of the system in one place, with the relations between them asserted at compile time.
 */
#ifndef FB_PROTO_BASE_BOUNDS_H_
#define FB_PROTO_BASE_BOUNDS_H_

#define FB_PARTITIONS_MAX 4096u
#define FB_PARTITIONS_DEFAULT 256u
#define FB_SLOTS 16384u
#define FB_NODES_MAX 64u
#define FB_REPLICAS_MAX 6u
#define FB_NAMESPACES_MAX 256u
#define FB_NAME_BYTES_MAX 63u /* node, namespace, table, column: PostgreSQL's NAMEDATALEN - 1 */
#define FB_KEY_BYTES_MAX 512u
#define FB_VALUE_BYTES_MAX                                                                         \
    (8u << 20) /* hard bound; max_value of a namespace is 128 KiB by default */
#define FB_VALUE_BYTES_DEFAULT (128u << 10)
#define FB_FIELD_BYTES_MAX 65535u
#define FB_COLUMNS_MAX 1600u
#define FB_FRAME_HEADER_BYTES_MAX (64u << 10)
#define FB_FRAME_BYTES_MAX (64u << 20)
#define FB_BATCH_ROWS_DEFAULT 1000u
#define FB_BATCH_ROWS_MAX 100000u
#define FB_TXN_OPS_MAX 10000u
#define FB_ADDRESS_BYTES_MAX 255u

_Static_assert(FB_VALUE_BYTES_MAX * 2 < FB_FRAME_BYTES_MAX,
               "a value fits a frame with room to spare");
_Static_assert(FB_SLOTS >= FB_PARTITIONS_MAX, "a partition has at least one slot");

#endif
