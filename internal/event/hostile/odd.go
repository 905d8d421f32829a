package hostile

import (
	"fmt"
	"strings"
	"time"

	"payment-capture/internal/event"
)

// OddRecord is a record that looks hostile but is valid: the service must capture
// 700.50 MXN for the event and the order with this id.
type OddRecord struct {
	Name    string
	ID      string
	Message event.Message
}

// Odd returns the records that look hostile but are valid.
func Odd(now time.Time, token string) []OddRecord {
	m := newMaker(now, token)
	var odd []OddRecord
	add := func(name string, message event.Message) {
		id := fmt.Sprintf("odd-%d", len(odd)+1)
		message.Timestamp = now
		message.Value = []byte(strings.NewReplacer("evt-1", id, "order-1001", id).Replace(string(message.Value)))
		for i, h := range message.Headers {
			if h.Key == "ce_id" {
				message.Headers[i].Value = []byte(id)
			}
		}
		odd = append(odd, OddRecord{Name: name, ID: id, Message: message})
	}
	with := func(name, old, changed string) { add(name, event.Message{Value: []byte(m.replaced(old, changed))}) }
	with("prototypes", `"payer"`, `"__proto__":{"amount":"1.00"},"constructor":{"prototype":{}},"payer"`)
	with("members that are ours but for capitals", `"payer"`, `"Amount":"1.00","AMOUNT":"2.00","payer"`)
	with("our members in other places", `"source"`, `"amount":"1.00","payer":{"token":"x"},"source"`)
	with("deep unknown members", `"source"`, `"x":`+strings.Repeat(`{"a":[`, 2_000)+strings.Repeat("]}", 2_000)+`,"source"`)
	with("a very long unknown name", `"source"`, `"`+strings.Repeat("n", 100_000)+`":1,"source"`)
	with("an unknown member of half a megabyte", `"source"`, `"x":"`+strings.Repeat("x", 512<<10)+`","source"`)
	with("HTML in the description", "Order 1001", `<script>alert('x')</script>&amp;<img src=x>`)
	with("SQL in the description", "Order 1001", `'; drop table orders; --`)
	with("formats and templates in the description", "Order 1001", `%s%n%d {{7*7}} ${jndi:ldap://x/y} $(id)`)
	with("text in the other direction", "Order 1001", "Order \u202e1001\u2066\u2028")
	with("a pair of surrogates", "Order 1001", `Order \ud83d\ude00`)
	with("needless escapes", "Order 1001", `\u004f\u0072der 1001`)
	with("256 characters of four bytes", "Order 1001", strings.Repeat("😀", 256))
	with("quotes and backslashes", "Order 1001", `\"\\\/`)
	with("an escaped name", `"amount"`, `"\u0061mount"`)
	with("an escaped type", event.TypeReadyToCapture, `order.ready_to_captur\u0065`)
	with("a number with an exponent", `"700.50"`, `7.005e2`)
	with("a number with many zeros", `"700.50"`, `700.50000000000000000000000000`)
	with("white space everywhere", `"data":`, " \t\r\n\"data\" \n : \r\n ")
	with("the same instant far away", m.time(), m.now.UTC().Add(23*time.Hour+59*time.Minute).Format("2006-01-02T15:04:05")+"+23:59")
	with("a token of symbols", token, `<>&'/\\=+`+token)
	with("a null account", `"payer"`, `"account":null,"device_session_id":null,"sub_merchant":null,"payer"`)
	binary := func(name string, more ...string) {
		add(name, event.Message{Value: []byte(m.data), Headers: binaryHeaders(nil, append([]string{"ce_time", m.time()}, more...))})
	}
	binary("extensions that stand twice", "ce_x", "1", "ce_x", "2")
	binary("attributes that stand twice, and the same", "ce_specversion", "1.0", "ce_type", event.TypeReadyToCapture, "ce_time", m.time())
	binary("headers with line ends", "x\r\ny", "a\r\nb", "", "")
	binary("a content-type in capitals", "CONTENT-TYPE", "APPLICATION/VND.X+JSON; charset=x")
	binary("a content-type twice, and the same", "content-type", "application/json", "Content-Type", "application/json")
	binary("marks of a parked record", "parked_reason", "undecided", "parked_detail", "sent again by hand", "parked_offset", "7")
	var many []string
	for i := range 3_000 {
		many = append(many, fmt.Sprintf("ce_x%d", i), "")
	}
	binary("three thousand headers", many...)
	add("a key of half a megabyte", event.Message{Key: []byte(strings.Repeat("k", 512<<10)), Value: []byte(m.plain)})
	add("a key that is no text", event.Message{Key: []byte("\xff\x00\r\n\x1b[31m"), Value: []byte(m.plain)})
	return odd
}
