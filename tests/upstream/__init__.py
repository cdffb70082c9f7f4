"""Publishers of this project, spoken from small honest slices, with faults to switch on."""
