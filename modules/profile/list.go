package profile

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"user-service/messaging/commands"
	"user-service/platform/fault"
	"user-service/platform/web"
)

const (
	// reach is how many users of a list a client can page to, and how many are counted: to skip or to
	// count the first half of a million takes the database longer than anybody wants to wait.
	reach = 10_000

	maxSearch      = 255 // characters, as a name
	maxSearchWords = 5   // each is looked up
)

// orderings are what `ordering` may say, without the `-` that turns it around. The first is the default.
var orderings = []struct{ name, expression string }{
	{"created_at", "created_at"},
	{"email", byEmail},
	{"name", "lower(name)"},
}

const byEmail = `lower(email) COLLATE "C"` // as its index has it

// listQuery is what the staff asks for, CONTRACT "Routes".
type listQuery struct {
	Page     web.Page `query:"page"`
	Search   string   `query:"search" doc:"Beginning of the address, or the first letters of words of the name, 16 of each." example:"ada"`
	Active   *bool    `query:"is_active" doc:"Whether the account is open." example:"true"`
	Verified *bool    `query:"email_verified" doc:"Whether the user has shown to read mail at this address." example:"true"`
	Ordering *string  `query:"ordering" doc:"Which come first; with a minus the other way round." enum:"created_at,-created_at,email,-email,name,-name" example:"-created_at"`
}

func (q *listQuery) validate() error {
	fields := fault.Fields{}
	q.Search = strings.TrimSpace(q.Search)
	if utf8.RuneCountInString(q.Search) > maxSearch {
		fields.Add("search", "Must be at most 255 characters long.")
	}
	if len(strings.Fields(q.Search)) > maxSearchWords {
		fields.Add("search", "Must be at most 5 words.")
	}
	if by, _ := q.order(); by == "" {
		fields.Add("ordering", "Must be one of "+strings.Join(acceptedOrderings(), ", ")+".")
	}
	if q.Page.Offset() >= reach {
		fields.Add("page", "Only the first 10000 users of a list can be reached. Narrow it down, or turn its order around.")
	}
	return fields.Err()
}

// order is by nothing for an ordering there is not.
func (q *listQuery) order() (by, direction string) {
	name, direction := "created_at", "DESC"
	if q.Ordering != nil {
		var down bool
		if name, down = strings.CutPrefix(*q.Ordering, "-"); !down {
			direction = "ASC"
		}
	}
	for _, o := range orderings {
		if o.name == name {
			return o.expression, direction
		}
	}
	return "", ""
}

func acceptedOrderings() (all []string) {
	for _, o := range orderings {
		all = append(all, o.name, "-"+o.name)
	}
	slices.Sort(all)
	return all
}

func (m *Module) list(ctx context.Context, q listQuery) (web.List[commands.User], error) {
	if err := q.validate(); err != nil {
		return web.List[commands.User]{}, err
	}
	rows, total, estimated, err := m.store.list(ctx, q)
	users := make([]commands.User, len(rows))
	for i, u := range rows {
		users[i] = u.view()
	}
	return web.List[commands.User]{Items: users, Total: total, Page: q.Page, Estimated: estimated, Reach: reach}, err
}
