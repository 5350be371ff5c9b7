"""Hayloft's programs on a Ray cluster.

    command_line    what is asked for
    harvest, rollouts, evaluate, sweep, simulate    which programs that comes to: tasks, and what follows them
    sizing          what it will take, from a plan and a measured sample
    tasks           a task, and how lists are cut into them
    policy          when a task is tried again, and when it is a straggler
    driver          runs tasks on a cluster: few at a time, again where they fail, stopped where they are to be
    tracker         how far each running task has come, in one place
    programs        runs a program, hears its progress, stops it
    jobs            hands a whole run to Ray Jobs

Only `driver`, `tracker`, `simulate` and `jobs` know Ray. What is written is written by the programs, which share a cache by leases
(`harvest run --share`): whatever dies here, no shard is half there and none is lost.
"""
