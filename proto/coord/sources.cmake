# fb_coord: coordinator interface, file back end, agent.
