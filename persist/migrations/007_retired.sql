-- Changes of the incarnation were withdrawn: it writes no more, since their sequence
-- numbers would be given out again.
ALTER TABLE actors ADD COLUMN retired INTEGER NOT NULL DEFAULT 0;
