package hostile

import "strings"

// amounts adds JSON values that are not an amount.
func (m *maker) amounts() {
	set := func(name, value, problem string) {
		m.with("an amount that is "+name, `"700.50"`, value, "data.amount", problem)
	}
	m.with("no amount", `"amount":"700.50",`, ``, "data.amount", "missing")
	m.with("Amount is not amount", `"amount"`, `"Amount"`, "data.amount", "missing")
	set("null", `null`, "missing")
	set("NaN", `NaN`, "not JSON")
	set("Infinity", `Infinity`, "not JSON")
	set("-Infinity", `-Infinity`, "not JSON")
	set("a plus and digits", `+5`, "not JSON")
	set("a point and digits", `.5`, "not JSON")
	// These begin with a valid number, so the library reports the data.
	m.with("an amount that is hexadecimal", `"700.50"`, `0x10`, "data", "not JSON")
	m.with("an amount with a leading zero", `"700.50"`, `0700.50`, "data", "not JSON")
	set("digits and a point", `5.`, "not JSON")
	set("an exponent of nothing", `5e`, "not JSON")
	set("true", `true`, "decimal string or a number")
	set("an array", `[700.50]`, "decimal string or a number")
	set("an object", `{"value":"700.50","currency":"MXN"}`, "decimal string or a number")
	set("a decimal of a database", `{"$numberDecimal":"700.50"}`, "decimal string or a number")
	set("negative", `-700.50`, "greater than zero")
	set("zero", `0`, "greater than zero")
	set("zero with places", `0.000`, "greater than zero")
	set("negative zero", `-0`, "greater than zero")
	set("zero with an exponent", `0e99`, "greater than zero")
	set("of thirteen digits", `1000000000000`, "twelve digits")
	set("1e12", `1e12`, "twelve digits")
	set("1e400", `1e400`, "twelve digits")
	set("1e999999999", `1e999999999`, "not a decimal")
	set("1e-999999999", `1e-999999999`, "not a decimal")
	set("1e-999", `1e-999`, "finer")
	set("an exponent of many digits", `1e`+strings.Repeat("9", 10_000), "not a decimal")
	set("of 40 digits", strings.Repeat("9", 40), "not a decimal")
	set("of 40 decimal places", `0.`+strings.Repeat("0", 39)+`1`, "not a decimal")
	set("a float's neighbour", `700.4999999999999`, "finer")
	set("finer than its currency", `700.505`, "finer")
	m.with("an amount that is finer than CLP", `MXN`, `CLP`, "data.amount", "finer")
	m.with("no currency", `"currency":"MXN",`, ``, "data.currency", "missing")
	m.with("a null currency", `"MXN"`, `null`, "data.currency", "missing")
	m.with("a number for a currency", `"MXN"`, `484`, "data.currency", "JSON number")
	for _, code := range []string{"", "USD", "mxn", "MXN ", `MXN\u0000`, "МXN", "$", "MXNMXN"} {
		m.with("currency "+code, `MXN`, code, "data.currency", "MXN")
	}
}

// numberTexts adds texts that are not an amount.
func (m *maker) numberTexts() {
	for _, text := range []string{
		"", " ", "NaN", "Infinity", "-Infinity", "inf", "null", "-1", "+1", "-0", "1e2", "1E2", "0x10", "007", "00.5", "0700.50", ".5", "5.",
		"1,50", "1.000,50",
		"1_000", "1 000", " 1", "1 ", `1\n`, `1\u0000`, "1.2.3", "$700.50", "700.50 MXN", "٧٠٠", "７００", "1/2", `700.50\r\nX: 1`,
		strings.Repeat("9", 33),
	} {
		m.with("an amount that is the text "+text, `700.50`, text, "data.amount", "plain decimal digits")
	}
	for text, problem := range map[string]string{
		"0": "greater than zero", "0.00": "greater than zero", "1000000000000": "twelve digits", "700.505": "finer", "0.001": "finer",
	} {
		m.with("an amount that is the text "+text, `700.50`, text, "data.amount", problem)
	}
}

// identifiers adds faults of the identifiers of the order.
func (m *maker) identifiers() {
	add := func(name, member, value, problem string) {
		m.with(name, `"payer"`, `"`+member+`":`+value+`,"payer"`, "data."+member, problem)
	}
	m.with("no order id", `"order_id":"order-1001",`, ``, "data.order_id", "missing")
	m.with("a number for an order id", `"order-1001"`, `1001`, "data.order_id", "JSON number")
	m.with("an empty order id", `order-1001`, ``, "data.order_id", "1 to 256")
	m.with("a zero character in the order id", `order-1001`, `order-1001\u0000`, "data.order_id", "control")
	m.with("a line of a log in the order id", `order-1001`, `x\n{\"level\":\"ERROR\",\"msg\":\"FORGED\"}`, "data.order_id", "control")
	m.with("an escape sequence in the order id", `order-1001`, `\u001b]0;FORGED\u0007`, "data.order_id", "control")
	m.with("an order id of 257 characters", `order-1001`, strings.Repeat("o", 257), "data.order_id", "256")
	m.with("an order id that is not a reference", `order-1001`, `order/1001`, "data.external_reference", "stand in")
	for name, value := range map[string]string{
		"empty": `""`, "of 65 characters": `"` + strings.Repeat("r", 65) + `"`, "with a header": `"a\r\nX-Other: 1"`,
		"with a zero character": `"a\u0000"`, "with a parent path": `"../../v1/payments"`, "with a query": `"a&status=approved"`,
		"beyond ASCII": `"é"`,
	} {
		add("a reference "+name, "external_reference", value, "A-Z a-z 0-9")
	}
	add("a number for a reference", "external_reference", `1001`, "JSON number")
	add("a header in the device session id", "device_session_id", `"a\r\nX-Idempotency-Key: evt-2"`, "printable")
	add("a newline at the end of the device session id", "device_session_id", `"a\n"`, "printable")
	add("an empty device session id", "device_session_id", `""`, "1 to 256")
	add("a device session id of 257 characters", "device_session_id", `"`+strings.Repeat("d", 257)+`"`, "256")
	add("a boolean for a device session id", "device_session_id", `true`, "JSON boolean")
	add("a newline in the account", "account", `"main\n"`, "printable")
	add("an empty account", "account", `""`, "1 to 64")
	add("an array for an account", "account", `["main"]`, "JSON array")
}

// texts adds faults of the description, which the buyer sees.
func (m *maker) texts() {
	m.with("no description", `"description":"Order 1001",`, ``, "data.description", "missing")
	m.with("an object for a description", `"Order 1001"`, `{"es":"Pedido"}`, "data.description", "JSON object")
	for name, text := range map[string]string{
		"that is empty": ``, "of 257 characters": strings.Repeat("é", 257), "with a newline": `Order\n1001`,
		"with a zero character":   `Order\u0000`,
		"with an escape sequence": `\u001b[31mOrder`, "with a C1 control character": `Order\u0085`, "with a CSI of one byte": `\u009b31m`,
		"with a delete character": `Order\u007f`, "with a backspace": `Order\b\b\b`,
	} {
		m.with("a description "+name, `Order 1001`, text, "data.description", "control")
	}
}

// payers adds faults of the payer and the sub-merchant.
func (m *maker) payers() {
	m.with("no payer", `,"payer":{"token":"`+m.token+`"}`, ``, "data.payer.token", "missing")
	m.with("no token", `"token"`, `"Token"`, "data.payer.token", "missing")
	m.with("a null token", `"`+m.token+`"`, `null`, "data.payer.token", "missing")
	m.with("an empty token", m.token, ``, "data.payer.token", "1 to 512")
	m.with("a newline in the token", m.token, m.token+`\n`, "data.payer.token", "printable")
	m.with("a header in the token", m.token, m.token+`\r\nAuthorization: x`, "data.payer.token", "printable")
	m.with("a space in the token", m.token, m.token+" "+m.token, "data.payer.token", "printable")
	m.with("a zero character in the token", m.token, m.token+`\u0000`, "data.payer.token", "printable")
	m.with("a token that is too long", m.token, strings.Repeat(m.token, 1+512/len(m.token)), "data.payer.token", "512")
	m.with("a number for a token", `"`+m.token+`"`, `12`, "data.payer.token", "JSON number")
	m.with("an object for a token", `"`+m.token+`"`, `{"value":"`+m.token+`"}`, "data.payer.token", "JSON object")
	m.with("an array for a token", `"`+m.token+`"`, `["`+m.token+`"]`, "data.payer.token", "JSON array")
	m.with("a string for a payer", `{"token":"`+m.token+`"}`, `"`+m.token+`"`, "data.payer", "JSON string")
	m.with("payers", `{"token":"`+m.token+`"}`, `[{"token":"`+m.token+`"}]`, "data.payer", "JSON array")
	m.with("an array for a sub-merchant", `"payer"`, `"sub_merchant":[],"payer"`, "data.sub_merchant", "JSON array")
	m.with("an empty sub-merchant", `"payer"`, `"sub_merchant":{},"payer"`, "data.sub_merchant.sub_merchant_id", "missing")
	m.with("a newline in a sub-merchant", `"payer"`, `"sub_merchant":{"sub_merchant_id":"a\nb"},"payer"`,
		"data.sub_merchant.sub_merchant_id", "control")
	m.with("a sub-merchant's member twice", `"payer"`, `"sub_merchant":{"mcc":"1","mcc":"2"},"payer"`, "data.sub_merchant.mcc", "twice")
}

// shapes adds data that are not an object.
func (m *maker) shapes() {
	set := func(name, value, problem string) { m.with("data that are "+name, m.data, value, "data", problem) }
	m.with("no data", `,"data":`+m.data, ``, "data", "missing")
	set("null", `null`, "missing")
	set("a JSON text in a string", `"{\"payer\":{\"token\":\"`+m.token+`\"}}"`, "JSON string")
	set("a number", `7`, "JSON number")
	set("a boolean", `false`, "JSON boolean")
	set("an array", `[`+m.data+`]`, "JSON array")
	m.with("data that are an empty object", m.data, `{}`, "data.order_id", "missing")
	m.with("data that are the whole event again", m.data, m.plain, "data.order_id", "missing")
}
