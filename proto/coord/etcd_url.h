/* The coordinator URL of etcd:
 * etcd://HOST:PORT[,HOST:PORT...][/CLUSTER][?tls=yes&ca=FILE&cert=FILE&key=FILE&user=NAME&
 * password_file=FILE]. Pure, but for the password, which is read from its file. */
#ifndef FB_PROTO_COORD_ETCD_URL_H_
#define FB_PROTO_COORD_ETCD_URL_H_

#include "proto/base/buf.h"

#define ETCD_ENDPOINTS_MAX 8u
#define ETCD_ADDRESS_BYTES_MAX 256u

/* Texts are owned by the struct, const after parsing. */
struct etcd_url {
    uint32_t count;
    char endpoint[ETCD_ENDPOINTS_MAX][ETCD_ADDRESS_BYTES_MAX + 8]; /* host:port */
    char *prefix;          /* "/forebay/<cluster>/", which every key begins with */
    bool tls;              /* also by ca, cert or key */
    char *ca, *cert, *key; /* NULL = not given; ca: then the system's */
    char *user, *password_file;
};

/* `text` begins with "etcd://". Errors: FB_EINVAL says what of it is wrong. The caller ends *out
 * with etcd_url_fini either way. */
FB_MUST_USE enum fb_status etcd_url_parse(const char *text, struct etcd_url *out,
                                          struct fb_err *err);
void etcd_url_fini(struct etcd_url *u);
/* The first line of password_file, without its end. Errors: FB_EINVAL, FB_EIO name the file. */
FB_MUST_USE enum fb_status etcd_url_password(const struct etcd_url *u, struct fb_buf *out,
                                             struct fb_err *err);

#endif
