// Filling a table of Maglev hashing, and packing it: loops over tens of thousands of slots, which take ten times as long in JavaScript that is not optimised.
#include "common.h"

namespace
{

template <class T> T typed(const Napi::Value &value, napi_typedarray_type type, const char *what)
{
	if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
		throw Napi::TypeError::New(value.Env(), std::string(what) + " is not an array of that type");
	return value.As<T>();
}

// fillTable(table, numbers, weights, next, skip, heaviest): as src/lb/maglev.ts says of a Fill
void fill_table(const Napi::CallbackInfo &info)
{
	auto table = typed<Napi::Uint16Array>(info[0], napi_uint16_array, "table");
	auto numbers = typed<Napi::Uint16Array>(info[1], napi_uint16_array, "numbers");
	auto weights = typed<Napi::Float64Array>(info[2], napi_float64_array, "weights");
	auto next = typed<Napi::Int32Array>(info[3], napi_int32_array, "next");
	auto skip = typed<Napi::Int32Array>(info[4], napi_int32_array, "skip");
	double heaviest = info[5].As<Napi::Number>().DoubleValue();
	size_t members = numbers.ElementLength(), size = table.ElementLength(), free = 0;

	for (size_t slot = 0; slot < size; slot++)
		free += table[slot] == 0;
	if (members == 0 || weights.ElementLength() != members || next.ElementLength() != members || skip.ElementLength() != members)
		throw Napi::RangeError::New(info.Env(), "columns of different lengths, or of nobody");
	for (size_t i = 0; i < members; i++) {
		if (numbers[i] == 0 || next[i] < 0 || skip[i] < 1 || static_cast<size_t>(next[i]) >= size || static_cast<size_t>(skip[i]) > size)
			throw Napi::RangeError::New(info.Env(), "a member's number is 0, or its walk leaves the table");
	}

	uint16_t *slots = table.Data();
	const double *weight = weights.Data();
	std::vector<double> due(members);
	for (double round = 1; free > 0; round++) {
		for (size_t i = 0; i < members && free > 0; i++) {
			if (heaviest != 0) {
				if (round * weight[i] < due[i])
					continue;
				due[i] += heaviest;
			}
			size_t slot = next[i], step = skip[i], walked = 0;
			while (slots[slot] != 0) {
				slot += step;
				slot -= slot >= size ? size : 0;
				if (++walked > size)
					throw Napi::RangeError::New(info.Env(), "a member's walk does not reach every slot");
			}
			slots[slot] = numbers[i];
			slot += step;
			next[i] = static_cast<int32_t>(slot >= size ? slot - size : slot);
			free--;
		}
	}
}

// A list is one word of so many numbers, of which each slot has one, so many slots to a word.
constexpr size_t listed = 4, slots_each = 32;

// Which place each number has among the first `listed` different ones; false: there are more.
bool list_of(const uint16_t *table, size_t size, uint16_t *list, uint8_t *places)
{
	size_t known = 0;

	for (size_t slot = 0; slot < size; slot++) {
		size_t place = 0;
		while (place < known && list[place] != table[slot])
			place++;
		if (place == listed)
			return false;
		if (place == known)
			list[known++] = table[slot];
		if (places)
			places[slot] = static_cast<uint8_t>(place);
	}
	return true;
}

// isListable(table): whether it has 4 different numbers at most
Napi::Value is_listable(const Napi::CallbackInfo &info)
{
	auto table = typed<Napi::Uint16Array>(info[0], napi_uint16_array, "table");
	uint16_t list[listed];

	return Napi::Boolean::New(info.Env(), list_of(table.Data(), table.ElementLength(), list, nullptr));
}

// packTable(table, listed): words as enum hw_lb_form of bpf/abi/lb.h says of a short or a listed table
Napi::Value pack_table(const Napi::CallbackInfo &info)
{
	auto table = typed<Napi::Uint16Array>(info[0], napi_uint16_array, "table");
	size_t size = table.ElementLength();
	const uint16_t *numbers = table.Data();

	if (!info[1].As<Napi::Boolean>().Value()) {
		auto words = Napi::Uint8Array::New(info.Env(), (size + 3) / 4 * sizeof(uint64_t));
		memcpy(words.Data(), numbers, size * sizeof(uint16_t));
		return words;
	}
	uint16_t list[listed] = {};
	std::vector<uint8_t> places(size);
	if (!list_of(numbers, size, list, places.data()))
		throw Napi::RangeError::New(info.Env(), "a listed table has 4 different numbers at most");
	std::vector<uint64_t> packed(size / slots_each + 2);
	memcpy(&packed.back(), list, sizeof(list));
	for (size_t slot = 0; slot < size; slot++)
		packed[slot / slots_each] |= static_cast<uint64_t>(places[slot]) << (slot % slots_each * 2);
	auto words = Napi::Uint8Array::New(info.Env(), packed.size() * sizeof(uint64_t));
	memcpy(words.Data(), packed.data(), packed.size() * sizeof(uint64_t));
	return words;
}

} // namespace

void export_table(Napi::Env env, Napi::Object exports)
{
	exports.Set("fillTable", Napi::Function::New(env, fill_table));
	exports.Set("isListable", Napi::Function::New(env, is_listable));
	exports.Set("packTable", Napi::Function::New(env, pack_table));
}
