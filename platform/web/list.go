package web

import (
	"fmt"
	"net/url"
	"strconv"

	"user-service/platform/fault"
)

// Bounds of a list.
const (
	DefaultLimit = 20
	MaxLimit     = 100
	MaxPage      = 1_000_000 // so that the offset stays a number the database takes
)

// Page is the part of a list that a client asks for: `?page=2&limit=50`.
type Page struct {
	Number int // from 1
	Limit  int // rows on a page
}

// Offset is how many rows come before the page.
func (p *Page) Offset() int { return (p.Number - 1) * p.Limit }

func (p *Page) decode(query url.Values, fields fault.Fields) {
	p.Number, p.Limit = 1, DefaultLimit
	for _, bound := range []struct {
		name string
		dest *int
		most int
	}{{"page", &p.Number, MaxPage}, {"limit", &p.Limit, MaxLimit}} {
		if !query.Has(bound.name) {
			continue
		}
		if len(query[bound.name]) > 1 {
			fields.Add(bound.name, givenOnce)
			continue
		}
		n, err := strconv.Atoi(query.Get(bound.name))
		if err != nil || n < 1 || n > bound.most {
			fields.Add(bound.name, fmt.Sprintf("Must be a whole number from 1 to %d.", bound.most))
			continue
		}
		*bound.dest = n
	}
}

// List is the data of an endpoint that gives one page of something.
type List[T any] struct {
	Items []T
	Total int // on all pages
	Page  Page

	Estimated bool // Total is about right: it would take too long to count
	Reach     int  // how many of Total can be paged to; all when left out
}

// Meta says which part of a list a reply is.
type Meta struct {
	Total       int  `json:"total" doc:"How many there are on all pages." example:"41"`
	Limit       int  `json:"limit" doc:"How many there are on a page." example:"20"`
	Page        int  `json:"page" doc:"Which page this is, from 1." example:"1"`
	TotalPages  int  `json:"total_pages" doc:"How many pages there are." example:"3"`
	HasNext     bool `json:"has_next" doc:"Whether there is a page after this one." example:"true"`
	HasPrevious bool `json:"has_previous" doc:"Whether there is a page before this one." example:"false"`

	TotalIsEstimate bool `json:"total_is_estimate,omitempty" doc:"The total is about right: it would take too long to count." example:"true"`
}

func (l List[T]) list() (items any, meta *Meta) {
	reached := l.Total
	if l.Reach > 0 {
		reached = min(reached, l.Reach)
	}
	pages := (reached + l.Page.Limit - 1) / l.Page.Limit
	if l.Items == nil {
		l.Items = []T{} // as JSON: none, not null
	}
	return l.Items, &Meta{
		Total: l.Total, Limit: l.Page.Limit, Page: l.Page.Number, TotalPages: pages,
		HasNext: l.Page.Number < pages, HasPrevious: l.Page.Number > 1,
		TotalIsEstimate: l.Estimated,
	}
}
