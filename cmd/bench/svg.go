package main

import (
	_ "embed" // the template
	"io"
	"text/template"
)

//go:embed bench.svg.tmpl
var drawing string

// Where things are in the picture, in pixels.
const (
	svgLeft   = 210 // of the bars; their names are before it
	svgFloor  = 400 // length of a bar as fast as its floor
	svgTop    = 38
	svgRow    = 30
	svgMargin = 70 // for the figure behind a bar
)

type picture struct {
	Width, Height  int
	Left, Floor    int
	Bottom, Legend int
	Bars           []bar
	Cores          int
	Day            string
}

// bar is one job in the picture.
type bar struct {
	Job                     string
	Ratio                   float64
	Class                   string
	Label, Left, Top, Width int
	Baseline, Value         int
	Mark                    int
	MarkTop, MarkBottom     int
}

// draw writes a picture of the ratios, which is readable on light and on dark pages.
func (r report) draw(out io.Writer) error {
	longest := 1.0
	p := picture{Left: svgLeft, Floor: svgLeft + svgFloor, Cores: r.Cores, Day: r.Taken.Format("2006-01-02")}
	for n, j := range r.Jobs {
		longest = max(longest, j.Ratio)
		top := svgTop + n*svgRow
		b := bar{
			Job: j.Job, Ratio: j.Ratio, Class: "good",
			Label: svgLeft - 10, Left: svgLeft, Top: top, Width: int(j.Ratio * svgFloor),
			Baseline: top + 14, Mark: svgLeft + int(j.Bar*svgFloor), MarkTop: top - 4, MarkBottom: top + 22,
		}
		b.Value = svgLeft + max(b.Width, int(j.Bar*svgFloor)) + 8
		if !j.holds() {
			b.Class = "bad"
		}
		p.Bars = append(p.Bars, b)
	}
	p.Width = svgLeft + int(longest*svgFloor) + svgMargin
	p.Bottom = svgTop + len(r.Jobs)*svgRow
	p.Legend = p.Bottom + 22
	p.Height = p.Legend + 12
	return template.Must(template.New("picture").Parse(drawing)).Execute(out, p)
}
