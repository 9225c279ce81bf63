//! PERCENTILE_DISC: the value at a place of the sorted values. `percentile_disc(x, portion, letter)`, where the letter says which way x is sorted.

use crate::functions::no_such_call;
use crate::list_agg::SortLetter;
use crate::{Error, ErrorKind};
use arrow::array::{Array, ArrayRef, AsArray, new_empty_array};
use arrow::compute::{SortOptions, concat, filter, is_not_null, sort};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_plan::expressions::Literal;
use std::sync::{Arc, LazyLock};

/// The name under which the function is registered.
pub const PERCENTILE_DISC: &str = "percentile_disc";

const USAGE: &str = "PERCENTILE_DISC(0.5) WITHIN GROUP (ORDER BY a_column)";

/// The function that leaders plan and workers register.
pub(super) fn percentile_disc_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(PercentileDisc { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PercentileDisc {
    signature: Signature,
}

/// Types that have an order.
fn is_sorted(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_temporal() || matches!(data_type, DataType::Utf8View | DataType::Boolean)
}

impl AggregateUDFImpl for PercentileDisc {
    fn name(&self) -> &str {
        PERCENTILE_DISC
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value, portion, letter] if portion.is_numeric() && matches!(letter, DataType::Utf8 | DataType::Utf8View) => {
                let value = match value {
                    DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                    DataType::Null => DataType::Int32,
                    other => other.clone(),
                };
                if is_sorted(&value) {
                    return Ok(vec![value, DataType::Float64, DataType::Utf8]);
                }
                Err(no_such_call(PERCENTILE_DISC, types, USAGE).into())
            }
            _ => Err(no_such_call(PERCENTILE_DISC, types, USAGE).into()),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let of = arguments.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let portion = match constant(&arguments, 1) {
            Some(ScalarValue::Float64(Some(portion))) if (0.0..=1.0).contains(&portion) => portion,
            Some(ScalarValue::Float64(Some(_))) => {
                return Err(Error::new(ErrorKind::InvalidParameter, "a percentile must be between 0 and 1").into());
            }
            _ => {
                return Err(Error::new(ErrorKind::InvalidParameter, "a percentile must be a constant").with_hint(USAGE).into());
            }
        };
        let descending = matches!(constant(&arguments, 2), Some(ScalarValue::Utf8(Some(letter))) if letter.to_lowercase() == "d");
        Ok(Box::new(Values { of, portion, descending, distinct: arguments.is_distinct, kept: Vec::new() }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let of = arguments.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        let list = DataType::List(Arc::new(Field::new_list_field(of, true)));
        Ok(vec![Arc::new(Field::new(format!("{}[values]", arguments.name), list, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn constant(arguments: &AccumulatorArgs<'_>, index: usize) -> Option<ScalarValue> {
    let expr = arguments.exprs.get(index)?;
    let literal = expr.downcast_ref::<Literal>().map(|literal| literal.value().clone());
    literal.or_else(|| {
        // A literal under a cast.
        let empty = arrow::array::RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        expr.evaluate(&empty).ok().and_then(|value| match value {
            datafusion::logical_expr::ColumnarValue::Scalar(value) => Some(value),
            datafusion::logical_expr::ColumnarValue::Array(_) => None,
        })
    })
}

/// All values of a group that are not NULL.
#[derive(Debug)]
struct Values {
    of: DataType,
    portion: f64,
    descending: bool,
    distinct: bool,
    kept: Vec<ArrayRef>,
}

impl Values {
    fn all(&self) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.kept.iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(new_empty_array(&self.of)),
            false => Ok(concat(&parts)?),
        }
    }

    fn keep(&mut self, values: &ArrayRef) -> Result<()> {
        let values = if values.null_count() > 0 { filter(values, &is_not_null(values)?)? } else { Arc::clone(values) };
        if !values.is_empty() {
            // A slice would hold the batch that it is of.
            let own = arrow::compute::take(&values, &arrow::array::UInt32Array::from_iter_values(0..values.len() as u32), None)?;
            self.kept.push(own);
        }
        Ok(())
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values.first() {
            Some(values) => self.keep(values),
            None => Ok(()),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|states| states.as_list_opt::<i32>()) else { return Ok(()) };
        (0..lists.len()).filter(|row| lists.is_valid(*row)).try_for_each(|row| self.keep(&lists.value(row)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![SingleRowListArrayBuilder::new(self.all()?).with_nullable(true).build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sorted = sort(&self.all()?, Some(SortOptions { descending: self.descending, nulls_first: false }))?;
        let sorted = if self.distinct { without_repetitions(&sorted)? } else { sorted };
        let rows = sorted.len();
        if rows == 0 {
            return ScalarValue::try_new_null(&self.of);
        }
        // The first value whose share of rows up to it is at least the portion.
        let place = ((self.portion * rows as f64) - f64::EPSILON * rows as f64).ceil() as usize;
        ScalarValue::try_from_array(&sorted, place.clamp(1, rows) - 1)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.iter().map(|part| part.get_array_memory_size()).sum::<usize>()
    }
}

fn without_repetitions(sorted: &ArrayRef) -> Result<ArrayRef> {
    let ranges = arrow::compute::partition(std::slice::from_ref(sorted))?.ranges();
    let firsts = arrow::array::UInt32Array::from_iter_values(ranges.iter().map(|range| range.start as u32));
    Ok(arrow::compute::take(sorted, &firsts, None)?)
}

/// The letter of the third argument.
pub fn percentile_letter(descending: bool) -> String {
    SortLetter { descending, nulls_first: false }.letter().to_string()
}
