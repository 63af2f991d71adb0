/* Answering reads from one object: shared by the writer (pending or published state) and by readers
 * of published state. Pure: fills `rep`, whose payload is a view into the object or into `scratch`.
 */
#ifndef FB_NODE_CORE_READ_VALUE_H_
#define FB_NODE_CORE_READ_VALUE_H_

#include "node/store/object.h"
#include "proto/base/bounds.h"
#include "proto/wire/request.h"

/* No reply has more, whatever is asked for: it must fit a frame with a value to spare. */
#define READ_REPLY_BYTES_MAX (FB_FRAME_BYTES_MAX / 2)

/* o: a live object or NULL for absent. False: not a read that this answers. */
bool read_value(const struct object *o, const struct fb_req *req, struct fb_buf *scratch,
                struct fb_rep *rep);
extern const char read_wrong_type[];

#endif
