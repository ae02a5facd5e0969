-- The states along a branch differ by one entry each: such a one is stored as its difference from another.
--
-- parent_group: the state that differences are to be applied to; where there is none, that of the log at base_position.

ALTER TABLE branch_states ADD COLUMN parent_group BIGINT;
