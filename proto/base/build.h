/* Which build this is: for --version, build_info and assertion messages. */
#ifndef FB_PROTO_BASE_BUILD_H_
#define FB_PROTO_BASE_BUILD_H_

/* "0.1.0"; static storage. */
const char *fb_build_version(void);
/* "gcc 12.2.0, Debug" and the like; static storage. */
const char *fb_build_flavor(void);

#endif
