/* Handing out slots: inside of node/store/. Partition writer only. */
#ifndef FB_NODE_STORE_SLAB_H_
#define FB_NODE_STORE_SLAB_H_

#include "node/store/object.h"

void slab_init(struct store_part *p);
/* A free slot, in no list. */
uint32_t slab_take(struct store_part *p);
/* Give back a slot whose object is gone and that is in no list. */
void slab_give(struct store_part *p, uint32_t index);

#endif
