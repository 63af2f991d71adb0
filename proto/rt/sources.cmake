# fb_rt: threads, mailboxes, RCU, metrics, admin HTTP.
