/* Owns the numbering of layers that have a router: 0, 1, 2 ... in the order of layers, whatever lies between. */
#ifndef TOOLS_LAYER_ORDER_H
#define TOOLS_LAYER_ORDER_H

enum { LAYER_ORDER_MAX = 1024 };

struct layer_order {
    int count;
    int layers[LAYER_ORDER_MAX]; /* [count], ascending */
};

/* The number of this layer; a layer that is seen for the first time gets the next one, so the first pass, which goes
 * through the layers in order, settles all of them. LAYER_ORDER_MAX: too many. */
static inline int layer_order_of(struct layer_order *order, int layer)
{
    int i = 0;
    while (i < order->count && order->layers[i] != layer) i++;
    if (i == order->count && i < LAYER_ORDER_MAX) order->layers[order->count++] = layer;
    return i;
}

#endif
