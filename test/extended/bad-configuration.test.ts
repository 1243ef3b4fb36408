// The same with the counts of the night, which runs this folder only.
import "../property/bad-configuration.test.ts";
