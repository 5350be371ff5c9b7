"""Hayloft's programs on a Ray cluster.

    command_line    the command line
    harvest, rollouts, evaluate, sweep, simulate    one command each: its tasks, and the steps after them
    sizing          estimates of a run's cost, from a plan and a measured sample
    tasks           a task, and how lists are cut into tasks
    policy          when a task is retried, and when it is a straggler
    driver          runs tasks on a cluster: few at a time, with retries, and stops
    tracker         progress of all running tasks
    programs        runs a program, reads its progress, stops it
    jobs            submits a whole run to Ray Jobs

Only `driver`, `tracker`, `simulate` and `jobs` import Ray. The programs write all data and share a cache by leases
(`harvest run --share`), so no failure leaves a half-written shard or loses one.
"""
