# fb_net: the adapter over nng.
