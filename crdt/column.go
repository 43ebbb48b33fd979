package crdt

// The columns of a change's operations, by their specification: id<<4 | type
// (binary format, "change chunk"). Others are refused.
const (
	colObjActor = iota
	colObjCounter
	colElemActor
	colElemCounter
	colKey
	colInsert
	colAction
	colValueMeta
	colValue
	colPredCount
	colPredActor
	colPredCounter
	colExpand
	colMarkName
	columnCount
)

var columnSpecs = [columnCount]uint64{
	0x01, 0x02, 0x11, 0x13, 0x15, 0x34, 0x42, 0x56, 0x57, 0x70, 0x71, 0x73, 0x94, 0xa5,
}

var columnNames = [columnCount]string{
	"object actor", "object counter", "element actor", "element counter", "key", "insert", "action",
	"value meta", "value", "predecessor count", "predecessor actor", "predecessor counter", "expand", "mark name",
}

// deflatedColumn marks a compressed column, which changes never have.
const deflatedColumn = 0x08
